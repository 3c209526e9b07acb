"""Who administers: an admin key or an OIDC token becomes a principal; failures are limited and audited."""

from __future__ import annotations

from gateway.access.oidc import looks_like_jwt
from gateway.access.roles import ROLES
from gateway.admin.parts import AdminParts
from gateway.errors import Forbidden, LlmosError, TooManyAttempts, Unauthenticated
from gateway.exchange import Principal


async def sign_in(parts: AdminParts, credential: str, source: str) -> Principal:
    """The principal of a key or token. `source` is the peer's address.

    Raises Unauthenticated, Forbidden (a caller's key, or a token without one role), TooManyAttempts, StoreUnavailable.
    """
    try:
        if parts.oidc is not None and looks_like_jwt(credential):
            return await parts.oidc.principal(credential)
        principal = await parts.keys.find(credential)
        if principal is None:
            raise Unauthenticated("This key is not known here, or it was revoked or has expired.")
        if principal.role not in ROLES or principal.role == "caller":
            raise Forbidden("This key is for using models; administration needs a key with another role.")
    except (Unauthenticated, Forbidden) as refused:
        try:
            await parts.attempts.failed(source)
        except TooManyAttempts as held:
            if held.deserves_a_record:
                await _record(parts, held, attempts=held.count)
            raise
        await _record(parts, refused)
        raise
    return principal


async def _record(parts: AdminParts, refused: LlmosError, **more: int) -> None:
    await parts.audit.admin({"action": "sign_in.refused", "outcome": refused.code, "status": refused.status, **more})
