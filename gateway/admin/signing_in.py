"""Who administers: an admin key or an OIDC token becomes a principal; failures are limited and audited."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.access.oidc import looks_like_jwt
from gateway.access.roles import ROLES
from gateway.admin.parts import AdminParts
from gateway.errors import Forbidden, LlmosError, NotFound, TooManyAttempts, Unauthenticated
from gateway.exchange import Principal


async def sign_in(parts: AdminParts, credential: str, source: str) -> Principal:
    """The principal of a key or token. `source` is the peer's address.

    Raises Unauthenticated, Forbidden (a caller's key, or a token without one role), TooManyAttempts, StoreUnavailable.
    """
    async with _counted(parts, source):
        if parts.oidc is not None and looks_like_jwt(credential):
            return await parts.oidc.principal(credential)
        principal = await parts.keys.find(credential)
        if principal is None:
            raise Unauthenticated("This key is not known here, or it was revoked or has expired.")
        if principal.role not in ROLES or principal.role == "caller":
            raise Forbidden("This key is for using models; administration needs a key with another role.")
        return principal


async def provider_address(parts: AdminParts) -> tuple[str, str]:
    """Where a browser signs in at the OIDC provider, and the state that it must bring back. Raises NotFound, Unavailable."""
    if parts.oidc_login is None:
        raise NotFound("No OIDC provider is configured for the console.")
    pending = await parts.sessions.begin_sign_in()
    return await parts.oidc_login.address(pending), pending.state


async def sign_in_by_code(parts: AdminParts, state: str, kept_state: str, code: str, source: str) -> Principal:
    """The principal of a browser that comes back from the provider; `kept_state` is what its own cookie says.

    Raises NotFound, Unauthenticated, Forbidden, TooManyAttempts, Unavailable.
    """
    if parts.oidc_login is None:
        raise NotFound("No OIDC provider is configured for the console.")
    async with _counted(parts, source):
        pending = await parts.sessions.take_sign_in(state) if state and state == kept_state else None
        if pending is None or not code:
            raise Unauthenticated("This sign-in was not begun here, took too long, or the provider refused it. Sign in again.")
        return await parts.oidc_login.principal(pending, code)


@asynccontextmanager
async def _counted(parts: AdminParts, source: str) -> AsyncIterator[None]:
    try:
        yield
    except (Unauthenticated, Forbidden) as refused:
        try:
            await parts.attempts.failed(source)
        except TooManyAttempts as held:
            if held.deserves_a_record:
                await _record(parts, held, attempts=held.count)
            raise
        await _record(parts, refused)
        raise


async def _record(parts: AdminParts, refused: LlmosError, **more: int) -> None:
    await parts.audit.admin({"action": "sign_in.refused", "outcome": refused.code, "status": refused.status, **more})
