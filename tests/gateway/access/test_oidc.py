"""OIDC tokens: what holds, and every forgery that must not."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from gateway.access.oidc import OidcSettings, OidcVerifier, looks_like_jwt
from gateway.backends.jwks import HttpJwks
from gateway.errors import Forbidden, Unauthenticated, Unavailable

ISSUER, AUDIENCE = "https://login.example", "llmos"
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
OTHER = ECKey.generate_key("P-256", {"kid": "ec"})


def claims(**changes: Any) -> dict[str, Any]:
    good = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 60, "sub": "ann", "llmos_role": "auditor", "llmos_tenant": "acme"}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def token(payload: dict[str, Any], key: Any = EC, alg: str = "ES256", kid: str = "ec") -> str:
    return jwt.encode({"alg": alg, "kid": kid}, payload, key, algorithms=[alg])


def verifier(*keys: Any) -> OidcVerifier:
    async def jwks(refresh: bool) -> KeySet:
        public = [key.as_dict(private=False) for key in keys or (RSA, EC)]
        return KeySet.import_key_set({"keys": public})

    return OidcVerifier(OidcSettings(ISSUER, AUDIENCE), jwks)


@pytest.mark.parametrize(("key", "alg", "kid"), [(EC, "ES256", "ec"), (RSA, "RS256", "rsa"), (RSA, "PS256", "rsa")])
async def test_a_good_token_is_a_principal(key: Any, alg: str, kid: str) -> None:
    principal = await verifier().principal(token(claims(), key, alg, kid))
    assert (principal.tenant, principal.key_id, principal.role) == ("acme", "oidc:ann", "auditor")


def part(value: dict[str, Any] | bytes) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned() -> str:
    return f"{part({'alg': 'none'})}.{part(claims())}."


def hmac_under_the_public_key() -> str:
    signed = f"{part({'alg': 'HS256', 'kid': 'rsa'})}.{part(claims())}"
    return f"{signed}.{part(hmac.digest(RSA.as_pem(private=False), signed.encode(), 'sha256'))}"


FORGED = {
    "expired": lambda: token(claims(exp=int(time.time()) - 3600)),
    "no expiry": lambda: token(claims(exp=None)),
    "not yet valid": lambda: token(claims(nbf=int(time.time()) + 3600)),
    "another issuer": lambda: token(claims(iss="https://evil.example")),
    "another audience": lambda: token(claims(aud="someone-else")),
    "no audience": lambda: token(claims(aud=None)),
    "another key of the same name": lambda: token(claims(), OTHER),
    "unsigned": unsigned,
    "hmac under the public key": hmac_under_the_public_key,
    "a changed payload": lambda: ".".join(
        [token(claims()).split(".")[0], token(claims(llmos_role="admin")).split(".")[1], token(claims()).split(".")[2]]
    ),
    "not a token": lambda: "eyJ.x.y",
    "too long": lambda: "eyJ" + "a" * 20_000,
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_or_expired_token_is_nobody(name: str) -> None:
    with pytest.raises(Unauthenticated):
        await verifier().principal(FORGED[name]())


@pytest.mark.parametrize("role", [None, "root", "caller", ["auditor", "operator"], []])
async def test_a_token_needs_exactly_one_role(role: Any) -> None:
    with pytest.raises(Forbidden, match="exactly one role"):
        await verifier().principal(token(claims(llmos_role=role)))


async def test_a_list_with_one_known_role_is_taken() -> None:
    assert (await verifier().principal(token(claims(llmos_role=["staff", "operator"])))).role == "operator"


def test_tokens_are_told_from_api_keys() -> None:
    assert looks_like_jwt(token(claims()))
    assert not looks_like_jwt("llmos-abc.def.ghi")


async def test_keys_come_by_discovery_and_a_new_key_is_found_by_a_refresh() -> None:
    served = {"keys": [RSA.as_dict(private=False)]}
    fetched: list[str] = []

    def provider(request: httpx.Request) -> httpx.Response:
        fetched.append(request.url.path)
        if request.url.path.endswith("openid-configuration"):
            return httpx.Response(200, json={"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"})
        return httpx.Response(200, json=served)

    async with httpx.AsyncClient(transport=httpx.MockTransport(provider)) as client:
        checks = OidcVerifier(OidcSettings(ISSUER, AUDIENCE), HttpJwks(client, ISSUER))
        assert (await checks.principal(token(claims(), RSA, "RS256", "rsa"))).role == "auditor"
        assert (await checks.principal(token(claims(), RSA, "RS256", "rsa"))).role == "auditor"
        assert len(fetched) == 2
        for _ in range(5):
            with pytest.raises(Unauthenticated):
                await checks.principal(token(claims()))
        assert len(fetched) == 2  # within MIN_REFRESH_S a forged key id fetches nothing


@pytest.mark.parametrize("answer", [httpx.Response(500), httpx.Response(200, text="<html>"), httpx.Response(200, json={"issuer": "x"})])
async def test_a_provider_that_does_not_answer_is_unavailable(answer: httpx.Response) -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda request: answer)) as client:
        with pytest.raises(Unavailable):
            await HttpJwks(client, ISSUER)(False)
