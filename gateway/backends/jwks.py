"""The signing keys of an OIDC provider, fetched over HTTPS and kept for a while.

Asked for only where an issuer is configured. A refresh is taken at most every MIN_REFRESH_S, so that forged tokens with
unknown keys can't make the gateway hammer the provider.
"""

from __future__ import annotations

import asyncio
import time

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gateway.errors import Unavailable

KEEP_S = 600.0
MIN_REFRESH_S = 10.0
MAX_JWKS_BYTES = 256 * 1024


class HttpJwks:
    """Callable as `gateway.access.oidc.Jwks`. Raises Unavailable where the provider can't be reached."""

    def __init__(self, client: httpx.AsyncClient, issuer: str) -> None:
        self._client = client
        self._issuer = issuer
        self._keys: KeySet | None = None
        self._fetched_at = float("-inf")
        self._lock = asyncio.Lock()

    async def __call__(self, refresh: bool) -> KeySet:
        async with self._lock:
            age_s = time.monotonic() - self._fetched_at
            if self._keys is None or age_s > KEEP_S or (refresh and age_s > MIN_REFRESH_S):
                self._keys = await self._fetch()
                self._fetched_at = time.monotonic()
            return self._keys

    async def _fetch(self) -> KeySet:
        """Discovery (OpenID Connect Discovery 1.0 section 4), then the key set that it names."""
        try:
            discovery = await self._client.get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            document = discovery.raise_for_status().json()
            if document["issuer"] != self._issuer:
                raise Unavailable("The OIDC provider's discovery document names another issuer than the settings do.")
            keys = (await self._client.get(document["jwks_uri"])).raise_for_status()
            if len(keys.content) > MAX_JWKS_BYTES:
                raise Unavailable("The OIDC provider's key set is too large.")
            return KeySet.import_key_set(keys.json())
        except (httpx.HTTPError, JoseError, ValueError, KeyError) as failed:
            raise Unavailable(f"The OIDC provider's keys can't be read: {type(failed).__name__}.", retry_after_s=5.0) from None
