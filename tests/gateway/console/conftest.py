"""The console over the same real, empty Valkey as the admin API's tests."""

from tests.gateway.admin.conftest import parts

__all__ = ["parts"]
