"""Stage 1: who asks? An API key becomes a principal.

It compares nothing itself: the key store looks the key up under a keyed hash. Failures are counted by the caller's address, and
past a limit answered with 429; a good key is never held back.
"""

from __future__ import annotations

from gateway.access.roles import Permission, may
from gateway.errors import Forbidden, Unauthenticated
from gateway.exchange import Principal
from gateway.ports import Attempts, KeyStore

_MAX_KEY_CHARACTERS = 512


async def authenticate(authorization: str | None, source: str, keys: KeyStore, attempts: Attempts) -> Principal:
    """The principal of an `Authorization: Bearer KEY` header that came from the address `source`.

    Raises Unauthenticated, Forbidden, TooManyAttempts, or StoreUnavailable from the store.
    """
    scheme, _, key = (authorization or "").partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise Unauthenticated("No API key was given. Send the header `Authorization: Bearer YOUR_KEY`.")
    principal = await keys.find(key) if len(key) <= _MAX_KEY_CHARACTERS else None
    if principal is None:
        await attempts.failed(source)
        raise Unauthenticated("This API key is not known here, or it was revoked.")
    if not may(principal, Permission.INFER):
        raise Forbidden("This key may administer, not use models; ask with a key of the role `caller`.")
    return principal
