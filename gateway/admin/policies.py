"""What is done with policies: each act stands in the audit before it is done."""

from __future__ import annotations

from gateway.admin.parts import AdminParts
from gateway.errors import InvalidPolicy
from gateway.stores.policies import PolicyVersion
from policies.load import PolicyError, load_policy
from policies.schema import Policy

MAX_REASON_CHARS = 500


async def parse_policy(parts: AdminParts, source: str) -> Policy:
    """The policy in `source`, whose `extends` may name a pack or a serving policy. Raises InvalidPolicy, StoreUnavailable."""
    stored = {entry.id: entry.source for entry in await parts.policies.all()}
    try:
        return load_policy(source, stored.get)
    except PolicyError as refused:
        raise InvalidPolicy(str(refused), param="source") from None


async def apply_policy(parts: AdminParts, actor: str, source: str, *, reason: str, if_match: str | None) -> PolicyVersion:
    """Raises InvalidPolicy, EditConflict, StoreUnavailable."""
    policy = await parse_policy(parts, source)
    await parts.audit.admin({"action": "policy.apply", "actor": actor, "policy": policy.id})
    return await parts.policies.apply(source, author=actor, reason=reason[:MAX_REASON_CHARS], if_match=if_match)


async def rollback_policy(parts: AdminParts, actor: str, policy_id: str, version: int, *, reason: str) -> PolicyVersion:
    """Raises NotFound, InvalidPolicy, EditConflict, StoreUnavailable."""
    await parts.audit.admin({"action": "policy.rollback", "actor": actor, "policy": policy_id, "policy_version": version})
    return await parts.policies.rollback(policy_id, version, author=actor, reason=reason[:MAX_REASON_CHARS])


async def remove_policy(parts: AdminParts, actor: str, policy_id: str, *, reason: str, if_match: str) -> PolicyVersion:
    """Raises NotFound, EditConflict, StoreUnavailable."""
    await parts.audit.admin({"action": "policy.remove", "actor": actor, "policy": policy_id})
    return await parts.policies.remove(policy_id, author=actor, reason=reason[:MAX_REASON_CHARS], if_match=if_match)
