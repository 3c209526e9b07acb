"""Console sessions in the store, so that any replica serves any page.

The browser holds 256 random bits in a cookie; the store holds their SHA-256 and what they stand for, for a limited time.
The CSRF token is derived from the session (HMAC under its secret), so that another site can't guess it and it needs no
entry of its own. A session ends when it is not used for half an hour, and at the latest after twelve hours, or one where an OIDC
provider vouched for the person, since a revocation there is not seen here. A stolen cookie works until then: it is HttpOnly,
SameSite=Strict, and Secure over TLS.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass, field

from redis.asyncio import Redis

from gateway.exchange import Principal
from gateway.stores.failures import reaching

IDLE_S = 1800
LONGEST_S = 12 * 3600
LONGEST_OIDC_S = 3600
SIGN_IN_S = 600


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


@dataclass(frozen=True, slots=True)
class PendingSignIn:
    """A sign-in that went to the OIDC provider: three secrets of 256 bits, known to this store and in part to the browser."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)


class ValkeySessions:
    """Sessions by the hash of their token; each use prolongs one."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def begin(self, principal: Principal) -> Session:
        """Raises StoreUnavailable."""
        token = secrets.token_urlsafe(32)
        longest_s = LONGEST_OIDC_S if principal.key_id.startswith("oidc:") else LONGEST_S
        who = {"tenant": principal.tenant, "key_id": principal.key_id, "role": principal.role}
        content = json.dumps({**who, "ends_unix_s": time.time() + longest_s})
        with reaching("begin a session"):
            await self._redis.set(_name(token), content, ex=IDLE_S)
        return Session(token, principal)

    async def find(self, token: str) -> Session | None:
        """Raises StoreUnavailable."""
        with reaching("find a session"):
            raw = await self._redis.getex(_name(token), ex=IDLE_S)
        plain = json.loads(raw) if raw else {"ends_unix_s": 0.0}
        return Session(token, Principal(**plain)) if plain.pop("ends_unix_s") > time.time() else None

    async def end(self, token: str) -> None:
        """Raises StoreUnavailable."""
        with reaching("end a session"):
            await self._redis.delete(_name(token))

    async def begin_sign_in(self) -> PendingSignIn:
        """Raises StoreUnavailable."""
        pending = PendingSignIn(*(secrets.token_urlsafe(32) for _ in range(3)))
        content = json.dumps({"nonce": pending.nonce, "code_verifier": pending.code_verifier})
        with reaching("begin a sign-in"):
            await self._redis.set(_name(pending.state), content, ex=SIGN_IN_S)
        return pending

    async def take_sign_in(self, state: str) -> PendingSignIn | None:
        """The sign-in of this state, once. Raises StoreUnavailable."""
        with reaching("end a sign-in"):
            raw = await self._redis.getdel(_name(state))
        plain = json.loads(raw) if raw else {}
        return PendingSignIn(state, plain["nonce"], plain["code_verifier"]) if "code_verifier" in plain else None


def _name(token: str) -> str:
    return "llmos:session:" + hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
