"""The tiny deployment, and certificates of another authority."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mpc_inference import certificates


@pytest.fixture(scope="session")
def tiny(deploy_tiny_mpc: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment of the tiny model: its configuration file."""
    return deploy_tiny_mpc(tmp_path_factory.mktemp("mpc"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of another authority."""
    path = tmp_path_factory.mktemp("stranger") / "certificates"
    certificates.create(path)
    return path
