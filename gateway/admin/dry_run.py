"""Try a policy on a text: what is found, what each rule does, and what the model would receive.

The same detector and the same replacement as for a request, in a conversation that is made for the purpose and
forgotten at once. The answer holds the text's values: it goes to who sent them and nowhere else.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from gateway.admin.parts import AdminParts
from gateway.errors import PolicyRefusal, TooLarge, Unavailable
from gateway.exchange import ConversationScope
from policies.schema import Action, Policy

MAX_TEXT_CHARS = 50_000


@dataclass(frozen=True, slots=True)
class Found:
    """One detected value: code points [start, end), and what the policy does with it."""

    start: int
    end: int
    entity: str
    score: float
    action: Action


@dataclass(frozen=True, slots=True)
class Tried:
    """`sent` is what the model would receive; None where the policy refuses, and `refusal` then says why."""

    found: tuple[Found, ...]
    sent: str | None = field(repr=False)
    refusal: str | None = None


async def try_policy(parts: AdminParts, policy: Policy, text: str, tenant: str) -> Tried:
    """Raises TooLarge, Unavailable, DetectorFailed, StoreUnavailable."""
    if len(text) > MAX_TEXT_CHARS:
        raise TooLarge(f"A dry run takes at most {MAX_TEXT_CHARS} characters.", param="text")
    if parts.dry_run is None:
        raise Unavailable("No detector runs here.")
    (spans,) = await parts.dry_run.detector.detect([text], policy, tenant=tenant)
    found = tuple(Found(s.start, s.end, s.entity, s.score, policy.entities[s.entity].action) for s in spans if s.entity in policy.entities)
    scope = ConversationScope(tenant=tenant, key_id="dry-run", conversation_id=secrets.token_hex(16))
    try:
        replaced = await parts.dry_run.pseudonyms.replace(scope, [text], [spans], policy)
    except PolicyRefusal as refused:
        return Tried(found, None, refused.message)
    finally:
        await parts.vault.forget(scope)
    return Tried(found, replaced.texts[0])
