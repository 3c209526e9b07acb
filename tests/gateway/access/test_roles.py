"""The table of roles."""

from __future__ import annotations

import pytest

from gateway.access.roles import PERMISSIONS, ROLES, Permission, may, require
from gateway.errors import Forbidden
from gateway.exchange import Principal


def who(role: str) -> Principal:
    return Principal(tenant="t", key_id="k", role=role)


def test_the_roles_that_are_promised() -> None:
    assert set(ROLES) == {"caller", "auditor", "analyst", "operator", "policy_admin", "admin"}


def test_an_analyst_reads_the_noised_statistics_and_nothing_else() -> None:
    assert PERMISSIONS["analyst"] == {Permission.READ_STATISTICS}


def test_a_caller_administers_nothing_and_an_administrator_sends_no_prompts() -> None:
    assert PERMISSIONS["caller"] == {Permission.INFER}
    assert all(Permission.INFER not in PERMISSIONS[role] for role in ROLES if role != "caller")


def test_duties_are_separate() -> None:
    assert not PERMISSIONS["auditor"] & {Permission.WRITE_POLICIES, Permission.WRITE_KEYS, Permission.ERASE}
    assert Permission.WRITE_POLICIES not in PERMISSIONS["operator"]
    assert Permission.WRITE_KEYS not in PERMISSIONS["policy_admin"]
    assert Permission.READ_AUDIT not in PERMISSIONS["operator"] | PERMISSIONS["policy_admin"]


def test_an_unknown_role_may_nothing() -> None:
    assert not any(may(who("root"), permission) for permission in Permission)


def test_a_refusal_names_the_permission_and_who_has_it() -> None:
    with pytest.raises(Forbidden, match=r"'caller' may not change policies; these may: policy_admin, admin"):
        require(who("caller"), Permission.WRITE_POLICIES)
