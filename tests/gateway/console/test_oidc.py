"""Sign-in to the console at an OIDC provider: the code flow with PKCE, and what must not get through."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from gateway.access.oidc import OidcSettings, OidcVerifier
from gateway.admin.parts import AdminParts
from gateway.backends.jwks import HttpJwks
from gateway.backends.oidc_login import OidcClient, OidcLogin
from gateway.console.app import console_app

ISSUER, CLIENT = "https://login.example", "llmos-console"
KEY = ECKey.generate_key("P-256", {"kid": "ec"})


@dataclass
class Provider:
    """A provider that hands out codes and exchanges each once, checking the secret that belongs to it."""

    asked: dict[str, str] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)

    def sign_in(self, address: str) -> dict[str, str]:
        """What a person's browser does there; the query with which it comes back."""
        self.asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        return {"state": self.asked["state"], "code": "code-1"}

    def serve(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("openid-configuration"):
            places = {"authorization_endpoint": f"{ISSUER}/auth", "token_endpoint": f"{ISSUER}/token", "jwks_uri": f"{ISSUER}/keys"}
            return httpx.Response(200, json={"issuer": ISSUER, **places})
        if request.url.path == "/keys":
            return httpx.Response(200, json={"keys": [KEY.as_dict(private=False)]})
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        hashed = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if form["code"] != "code-1" or hashed != self.asked["code_challenge"] or form["client_secret"] != "s3cret":
            return httpx.Response(400, json={"error": "invalid_grant"})
        claims = {"iss": ISSUER, "aud": CLIENT, "exp": int(time.time()) + 60, "sub": "ann", "nonce": self.asked["nonce"], **self.claims}
        token = jwt.encode({"alg": "ES256", "kid": "ec"}, {"llmos_role": "auditor", **claims}, KEY, algorithms=["ES256"])
        return httpx.Response(200, json={"id_token": token})


@dataclass
class Visitor:
    provider: Provider
    browser: httpx.AsyncClient
    parts: AdminParts

    async def start(self) -> dict[str, str]:
        begun = await self.browser.get("/oidc/start")
        assert begun.status_code == 303
        return self.provider.sign_in(begun.headers["location"])


@pytest.fixture
async def visitor(parts: AdminParts) -> AsyncIterator[Visitor]:
    provider = Provider()
    async with httpx.AsyncClient(transport=httpx.MockTransport(provider.serve)) as http:
        verifier = OidcVerifier(OidcSettings(ISSUER, CLIENT), HttpJwks(http, ISSUER))
        client = OidcClient(ISSUER, CLIENT, "http://gateway/console/oidc/callback", "s3cret")
        with_login = dataclasses.replace(parts, oidc_login=OidcLogin(http, client, verifier))
        transport = httpx.ASGITransport(console_app(lambda: with_login))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as browser:
            yield Visitor(provider, browser, with_login)


async def test_a_person_signs_in_at_the_provider(visitor: Visitor) -> None:
    assert "/oidc/start" in (await visitor.browser.get("/")).text
    back = await visitor.start()
    assert (visitor.provider.asked["code_challenge_method"], visitor.provider.asked["client_id"]) == ("S256", CLIENT)
    answer = await visitor.browser.get("/oidc/callback", params=back)
    assert answer.status_code == 200
    assert 'http-equiv="refresh"' in answer.text
    page = await visitor.browser.get("/audit")
    assert page.status_code == 200
    assert "oidc:ann" in page.text
    assert (await visitor.browser.get("/keys")).status_code == 403
    again = await visitor.browser.get("/oidc/callback", params=back)
    assert again.status_code == 401, "a state works once"


@pytest.mark.parametrize("wrong", ["state", "cookie", "code", "nonce", "audience", "expired", "role", "refused"])
async def test_a_sign_in_that_does_not_hold_begins_no_session(visitor: Visitor, wrong: str) -> None:
    visitor.provider.claims = {
        "nonce": {"nonce": "another"}, "audience": {"aud": "llmos"}, "expired": {"exp": 1}, "role": {"llmos_role": "root"},
    }.get(wrong, {})  # fmt: skip
    back = await visitor.start()
    if wrong == "cookie":
        visitor.browser.cookies.clear()
    elif wrong == "refused":
        back = {"state": back["state"], "error": "access_denied"}
    elif wrong in back:
        back[wrong] = "forged"
    answer = await visitor.browser.get("/oidc/callback", params=back)
    assert answer.status_code == (403 if wrong == "role" else 401)
    assert (await visitor.browser.get("/audit")).status_code == 401
    refusals = [orjson.loads(link.record) async for link in visitor.parts.audit.links("-")]
    assert [record["action"] for record in refusals] == ["sign_in.refused"]


async def test_without_a_provider_there_is_no_such_way(parts: AdminParts) -> None:
    transport = httpx.ASGITransport(console_app(lambda: parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as browser:
        assert "/oidc/start" not in (await browser.get("/")).text
        assert (await browser.get("/oidc/start")).status_code == 404
        assert (await browser.get("/oidc/callback", params={"state": "x", "code": "y"})).status_code == 404


async def test_a_session_ends_after_its_longest_time_however_often_it_is_used(parts: AdminParts, monkeypatch: pytest.MonkeyPatch) -> None:
    key = await parts.keys.create(tenant="acme", role="auditor", created_by="test")
    principal = await parts.keys.find(key.text)
    assert principal is not None
    session = await parts.sessions.begin(principal)
    assert await parts.sessions.find(session.token) == session
    assert await parts.sessions.take_sign_in(session.token) is None, "a session is no sign-in"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 13 * 3600)
    assert await parts.sessions.find(session.token) is None
