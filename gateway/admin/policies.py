"""What is done with policies: each act stands in the audit before it is done."""

from __future__ import annotations

from gateway.admin.acting import acting, refuse
from gateway.admin.parts import AdminParts
from gateway.errors import BadRequest, InvalidPolicy
from gateway.exchange import Principal
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


async def apply_policy(
    parts: AdminParts, who: Principal, source: str, *, reason: str, if_match: str | None, policy_id: str | None = None
) -> PolicyVersion:
    """`policy_id` is the id that the document must have, where one is given.

    Raises BadRequest, InvalidPolicy, EditConflict, StoreUnavailable.
    """
    try:
        policy = await parse_policy(parts, source)
        if policy_id not in (None, policy.id):
            raise BadRequest("The document's `id` is not the one in the path.", param="source")
    except BadRequest as refused:  # InvalidPolicy is one
        await refuse(parts, who, "policy.apply", refused)
        raise
    async with acting(parts, who, "policy.apply", policy=policy.id) as learned:
        entry = await parts.policies.apply(source, author=who.key_id, reason=reason[:MAX_REASON_CHARS], if_match=if_match)
        learned["policy_version"] = entry.version
    return entry


async def rollback_policy(parts: AdminParts, who: Principal, policy_id: str, version: int, *, reason: str) -> PolicyVersion:
    """Raises NotFound, InvalidPolicy, EditConflict, StoreUnavailable."""
    async with acting(parts, who, "policy.rollback", policy=policy_id, to_version=version) as learned:
        entry = await parts.policies.rollback(policy_id, version, author=who.key_id, reason=reason[:MAX_REASON_CHARS])
        learned["policy_version"] = entry.version
    return entry


async def remove_policy(parts: AdminParts, who: Principal, policy_id: str, *, reason: str, if_match: str) -> PolicyVersion:
    """Raises NotFound, EditConflict, StoreUnavailable."""
    async with acting(parts, who, "policy.remove", policy=policy_id) as learned:
        entry = await parts.policies.remove(policy_id, author=who.key_id, reason=reason[:MAX_REASON_CHARS], if_match=if_match)
        learned["policy_version"] = entry.version
    return entry
