"""An OIDC bearer token becomes a principal when its signature, issuer, audience and times hold.

Only asymmetric algorithms are taken (RFC 8725 section 3.1: `none` and HMAC under a public key are the classical
forgeries). The role comes from one named claim: the roles there that LLMOS knows, of which exactly one must remain, so
that a person never holds more than was meant. It does not see a revocation at the provider before the token expires:
keep lifetimes short. Tokens are for administration; models are used with API keys.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gateway.access.roles import ROLES
from gateway.errors import Forbidden, Unauthenticated
from gateway.exchange import Principal

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
LEEWAY_S = 30
MAX_TOKEN_CHARS = 16_384

Jwks = Callable[[bool], Awaitable[KeySet]]


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """The provider, and where its tokens say who somebody is."""

    issuer: str
    audience: str
    role_claim: str = "llmos_role"
    tenant_claim: str = "llmos_tenant"


def looks_like_jwt(token: str) -> bool:
    """Whether to try the token here and not as an API key: three parts, and the first one a JSON header."""
    return token.startswith("eyJ") and token.count(".") == 2


class OidcVerifier:
    """Checks tokens of one provider. `jwks(refresh)` gives its keys, from a cache unless `refresh` is asked for."""

    def __init__(self, settings: OidcSettings, jwks: Jwks) -> None:
        self._settings = settings
        self._jwks = jwks
        self._claims = jwt.JWTClaimsRegistry(
            now=lambda: int(time.time()),
            leeway=LEEWAY_S,
            iss={"essential": True, "value": settings.issuer},
            aud={"essential": True, "value": settings.audience},
            exp={"essential": True},
            sub={"essential": True},
        )

    async def principal(self, token: str, *, nonce: str | None = None) -> Principal:
        """Who bears the token. `nonce` is the one of the sign-in that asked for it, where one did.

        Raises Unauthenticated for a token that does not hold, Forbidden for one without a role.
        """
        if len(token) > MAX_TOKEN_CHARS:
            raise Unauthenticated("The bearer token is too long.")
        try:
            decoded = await self._decode(token)
            self._claims.validate(decoded.claims)
        except (JoseError, ValueError, TypeError, KeyError) as refused:
            raise Unauthenticated(f"The bearer token does not hold: {type(refused).__name__}. Sign in again.") from None
        claims = decoded.claims
        if nonce is not None and not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise Unauthenticated("The token belongs to another sign-in. Sign in again.")
        named = claims.get(self._settings.role_claim)
        roles = {named} if isinstance(named, str) else set(named) if isinstance(named, list) else set()
        known = sorted(role for role in roles if role in ROLES and role != "caller")
        if len(known) != 1:
            raise Forbidden(f"The token's claim {self._settings.role_claim!r} must name exactly one role of LLMOS.")
        tenant = claims.get(self._settings.tenant_claim, "-")
        return Principal(tenant=str(tenant), key_id=_actor(str(claims["iss"]), str(claims["sub"])), role=known[0])

    async def _decode(self, token: str) -> jwt.Token:
        """Try the cached keys; a token signed by a key that they lack is tried once more on fresh ones."""
        try:
            return jwt.decode(token, await self._jwks(False), algorithms=ALGORITHMS)
        except (JoseError, ValueError):
            return jwt.decode(token, await self._jwks(True), algorithms=ALGORITHMS)


def _actor(issuer: str, subject: str) -> str:
    """The subject as history and audit name it: as the provider gives it, but for one that could be a mail address or a text."""
    if not re.fullmatch(r"[A-Za-z0-9._:|-]{1,100}", subject):
        subject = "sha256-" + hashlib.sha256(f"{issuer}\0{subject}".encode()).hexdigest()[:32]
    return f"oidc:{subject.replace('|', ':')}"
