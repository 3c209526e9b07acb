"""The table of roles."""

from __future__ import annotations

import pytest

from gateway.access.roles import MANAGES, PERMISSIONS, ROLES, Permission, may, require, require_manages
from gateway.errors import Forbidden
from gateway.exchange import Principal


def who(role: str) -> Principal:
    return Principal(tenant="t", key_id="k", role=role)


def test_the_roles_that_are_promised() -> None:
    assert set(ROLES) == {"caller", "auditor", "analyst", "operator", "monitor", "policy_admin", "admin"}


def test_an_analyst_reads_the_noised_statistics_and_nothing_else() -> None:
    assert PERMISSIONS["analyst"] == {Permission.READ_STATISTICS}


def test_metrics_are_not_for_those_who_get_noised_statistics() -> None:
    assert {role for role in ROLES if may(who(role), Permission.READ_METRICS)} == {"auditor", "operator", "monitor", "admin"}


def test_nobody_makes_keys_of_a_role_that_may_more() -> None:
    for role, managed in MANAGES.items():
        beyond = frozenset().union(*(PERMISSIONS[each] for each in managed)) - PERMISSIONS[role]
        assert beyond <= {Permission.INFER, Permission.READ_STATISTICS}, role
    with pytest.raises(Forbidden, match="may not manage keys of the role 'admin'; these may: admin"):
        require_manages(who("operator"), "admin")


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
