"""What each role may do, as one table.

A role is given to a key or to a person's OIDC token. A permission guards an endpoint or a page of the console. The table
decides about administration; which model a caller may use is decided by the key and the policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from gateway.errors import Forbidden
from gateway.exchange import Principal


class Permission(StrEnum):
    INFER = "use models"
    READ_POLICIES = "read policies"
    WRITE_POLICIES = "change policies"
    DRY_RUN = "try a policy on a text"
    READ_KEYS = "read keys"
    WRITE_KEYS = "change keys and tenants"
    READ_AUDIT = "read and verify the audit"
    READ_BUDGETS = "read budgets"
    READ_STATISTICS = "read the noised statistics"
    READ_MODELS = "read models and rounds"
    WRITE_MODELS = "change models and rounds"
    READ_METRICS = "read the metrics"
    READ_HEALTH = "see the health of each part"
    ERASE = "erase personal data"


P = Permission

_AUDITOR = frozenset({P.READ_AUDIT, P.READ_BUDGETS, P.READ_POLICIES, P.READ_METRICS, P.READ_HEALTH})
_OPERATOR = frozenset({P.READ_KEYS, P.WRITE_KEYS, P.READ_MODELS, P.WRITE_MODELS, P.READ_BUDGETS, P.READ_METRICS, P.READ_HEALTH, P.ERASE})
_POLICY_ADMIN = frozenset({P.READ_POLICIES, P.WRITE_POLICIES, P.DRY_RUN, P.READ_HEALTH})

PERMISSIONS: Mapping[str, frozenset[Permission]] = {
    "caller": frozenset({P.INFER}),
    "auditor": _AUDITOR,
    "analyst": frozenset({P.READ_STATISTICS}),  # neither audit nor metrics: both would undo the noise
    "operator": _OPERATOR,
    "monitor": frozenset({P.READ_METRICS, P.READ_HEALTH}),  # for Prometheus
    "policy_admin": _POLICY_ADMIN,
    "admin": _AUDITOR | _OPERATOR | _POLICY_ADMIN,  # for an installation that one person runs; separate duties where you can
}

ROLES = tuple(PERMISSIONS)

# whose keys a role may make, rotate and revoke: never those of a role that may more than itself
MANAGES: Mapping[str, frozenset[str]] = {
    "operator": frozenset({"caller", "analyst", "monitor", "operator"}),
    "admin": frozenset(ROLES),
}


def may(principal: Principal, permission: Permission) -> bool:
    """Whether the principal's role has the permission; an unknown role has none."""
    return permission in PERMISSIONS.get(principal.role, frozenset())


def require(principal: Principal, permission: Permission) -> None:
    """Raises Forbidden, naming the permission and the roles that have it."""
    if not may(principal, permission):
        having = ", ".join(role for role, granted in PERMISSIONS.items() if permission in granted)
        raise Forbidden(f"The role {principal.role!r} may not {permission.value}; these may: {having}.")


def require_manages(principal: Principal, role: str) -> None:
    """Raises Forbidden where the principal may not make or change a key of this role."""
    if role in ROLES and role not in MANAGES.get(principal.role, frozenset()):
        managing = ", ".join(each for each, roles in MANAGES.items() if role in roles)
        raise Forbidden(f"The role {principal.role!r} may not manage keys of the role {role!r}; these may: {managing}.")
