"""Sign-in at an OIDC provider by the authorization code flow with PKCE (OpenID Connect Core 1.0 section 3.1, RFC 7636).

The browser goes to the provider with a state, a nonce and the hash of a secret; it comes back with a code, which is exchanged
here, with the secret, for an ID token. Who bears the token `gateway.access.oidc` decides: signature, issuer, audience (here the
client id), times, nonce and role. It does not see a revocation at the provider until the session ends.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from urllib.parse import urlencode

import httpx

from gateway.access.oidc import OidcVerifier
from gateway.errors import Unauthenticated, Unavailable
from gateway.exchange import Principal
from gateway.stores.sessions import PendingSignIn

SCOPE = "openid"


@dataclass(frozen=True, slots=True)
class OidcClient:
    """How the provider knows this gateway. `secret` is None for a public client."""

    issuer: str
    client_id: str
    redirect_url: str
    secret: str | None = field(default=None, repr=False)


class OidcLogin:
    """One provider's flow. `verifier` checks tokens whose audience is the client id."""

    def __init__(self, client: httpx.AsyncClient, oidc: OidcClient, verifier: OidcVerifier) -> None:
        self._http = client
        self._oidc = oidc
        self._verifier = verifier

    async def address(self, pending: PendingSignIn) -> str:
        """Where the browser goes. Raises Unavailable where the provider can't be asked."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(pending.code_verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self._oidc.client_id,
            "redirect_uri": self._oidc.redirect_url,
            "scope": SCOPE,
            "state": pending.state,
            "nonce": pending.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{await self._endpoint('authorization_endpoint')}?{urlencode(query)}"

    async def principal(self, pending: PendingSignIn, code: str) -> Principal:
        """Who came back. Raises Unauthenticated, Forbidden, Unavailable."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._oidc.redirect_url,
            "client_id": self._oidc.client_id,
            "code_verifier": pending.code_verifier,
        }
        if self._oidc.secret is not None:
            form["client_secret"] = self._oidc.secret
        endpoint = await self._endpoint("token_endpoint")
        try:
            answer = await self._http.post(endpoint, data=form)
            if answer.status_code in (400, 401):
                raise Unauthenticated("The OIDC provider did not take the code of this sign-in. Sign in again.")
            token = answer.raise_for_status().json()["id_token"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as failed:
            raise Unavailable(f"The OIDC provider gave no token: {type(failed).__name__}.", retry_after_s=5.0) from None
        return await self._verifier.principal(str(token), nonce=pending.nonce)

    async def _endpoint(self, name: str) -> str:
        try:
            answer = await self._http.get(f"{self._oidc.issuer.rstrip('/')}/.well-known/openid-configuration")
            document = answer.raise_for_status().json()
            if document["issuer"] != self._oidc.issuer:
                raise Unavailable("The OIDC provider's discovery document names another issuer than the settings do.")
            return str(document[name])
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as failed:
            raise Unavailable(f"The OIDC provider can't be asked: {type(failed).__name__}.", retry_after_s=5.0) from None
