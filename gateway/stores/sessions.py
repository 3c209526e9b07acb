"""Console sessions in the store, so that any replica serves any page.

The browser holds 256 random bits in a cookie; the store holds their SHA-256 and what they stand for, for a limited time.
The CSRF token is derived from the session (HMAC under its secret), so that another site can't guess it and it needs no
entry of its own. A stolen cookie works until the session ends: it is HttpOnly, SameSite=Strict, and Secure over TLS.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, field

from redis.asyncio import Redis

from gateway.exchange import Principal
from gateway.stores.failures import reaching

IDLE_S = 1800


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody signed in. `token` is the cookie's value."""

    token: str = field(repr=False)
    principal: Principal

    @property
    def csrf(self) -> str:
        return hmac.digest(self.token.encode(), b"llmos/console/csrf", "sha256").hex()

    def csrf_holds(self, presented: str) -> bool:
        return hmac.compare_digest(self.csrf.encode(), presented.encode("utf-8", "replace"))


class ValkeySessions:
    """Sessions by the hash of their token; each use prolongs one."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def begin(self, principal: Principal) -> Session:
        """Raises StoreUnavailable."""
        token = secrets.token_urlsafe(32)
        content = json.dumps({"tenant": principal.tenant, "key_id": principal.key_id, "role": principal.role})
        with reaching("begin a session"):
            await self._redis.set(_name(token), content, ex=IDLE_S)
        return Session(token, principal)

    async def find(self, token: str) -> Session | None:
        """Raises StoreUnavailable."""
        with reaching("find a session"):
            raw = await self._redis.getex(_name(token), ex=IDLE_S)
        return Session(token, Principal(**json.loads(raw))) if raw else None

    async def end(self, token: str) -> None:
        """Raises StoreUnavailable."""
        with reaching("end a session"):
            await self._redis.delete(_name(token))


def _name(token: str) -> str:
    return "llmos:session:" + hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
