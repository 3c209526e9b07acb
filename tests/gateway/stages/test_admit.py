"""Which models an unknown name is answered with: those that this caller may ask for, the secret-shared one among them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.backends.catalogue import Catalogue
from gateway.backends.mpc_catalogue import WithMpc
from gateway.errors import PolicyRefusal, UnknownModel
from gateway.exchange import Api, Principal, Received
from gateway.ports import ModelCatalogue
from gateway.stages.admit import admit
from policies.resolve import Subject, choose
from policies.schema import Policy


class Server:
    """A model server that lists these names."""

    def __init__(self, *names: str) -> None:
        self.names = names

    async def models(self) -> list[dict[str, Any]]:
        return [{"id": name} for name in self.names]


class Policies:
    def __init__(self, *policies: Policy) -> None:
        self.policies = policies

    async def resolve(self, principal: Principal, model: str, path: str) -> tuple[Policy, int]:
        chosen = choose(self.policies, Subject(principal.tenant, principal.key_id, model, path, principal.policies))
        if chosen is None:
            raise PolicyRefusal("No policy serves this key, model and path.")
        return chosen, 1


def catalogue(mpc: bool = True) -> ModelCatalogue:
    plain = Catalogue(Server("smollm2", "smollm2@r1"), Server("embedder"), ("named",))  # type: ignore[arg-type]
    return WithMpc(plain, "smollm2-mpc") if mpc else plain


def policy(**fields: Any) -> Policy:
    return Policy.model_validate({"id": "p", **fields})


async def told(*policies: Policy, api: Api = "chat.completions", mpc: bool = True, **principal: Any) -> str:
    """What an unknown name is answered with."""
    received = Received("req_1", api, Principal("clinic", "k1", **principal), {"model": "nothing-like-this"})
    with pytest.raises(UnknownModel) as refused:
        await admit(received, Policies(*policies), catalogue(mpc))
    assert (refused.value.param, refused.value.code) == ("model", "model_not_found")
    assert "nothing-like-this" not in refused.value.message
    return refused.value.message.removeprefix("No model of this name is served here.").strip()


@pytest.mark.parametrize(
    ("api", "names"),
    [
        ("chat.completions", "smollm2, smollm2@r1, named, smollm2-mpc"),
        ("completions", "smollm2, smollm2@r1, named, smollm2-mpc"),
        ("responses", "smollm2, smollm2@r1, named"),
        ("embeddings", "embedder"),
    ],
)
async def test_every_model_of_the_api_is_named_and_no_other(api: Api, names: str) -> None:
    assert await told(policy(), api=api) == f"You may ask for: {names}."


async def test_without_secret_shared_inference_its_model_is_not_named() -> None:
    assert await told(policy(), mpc=False) == "You may ask for: smollm2, smollm2@r1, named."
    assert await told(policy(), mpc=False, api="mpc.relay") == ""


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"match": {"models": ["smollm2@*"]}}, "smollm2@r1"),
        ({"match": {"paths": ["/v1/chat/*"], "models": ["named"]}}, "named"),
        ({"routing": {"rules": [{"models": ["smollm2-mpc", "named"], "to": "refuse"}]}}, "smollm2, smollm2@r1"),
        ({"routing": {"rules": [{"models": ["smollm2-mpc"], "to": "mpc"}], "default": "refuse"}}, "smollm2-mpc"),
        # what only some requests are refused for does not take the name away
        ({"match": {"models": ["named"]}, "routing": {"rules": [{"entities": ["PERSON"], "to": "refuse"}]}}, "named"),
        ({"match": {"models": ["named"]}, "routing": {"rules": [{"entities": ["PERSON"], "to": "mpc"}], "default": "refuse"}}, "named"),
    ],
)
async def test_a_model_that_the_policy_does_not_serve_or_always_refuses_is_not_named(fields: dict[str, Any], names: str) -> None:
    assert await told(policy(**fields)) == f"You may ask for: {names}."


async def test_a_model_that_the_key_may_not_use_is_not_named() -> None:
    assert await told(policy(), models=("smollm2*",)) == "You may ask for: smollm2, smollm2@r1, smollm2-mpc."
    assert await told(policy(), models=("smollm2-mpc",)) == "You may ask for: smollm2-mpc."


async def test_who_may_ask_for_nothing_is_told_no_name() -> None:
    assert await told(policy(), models=("other",)) == ""
    assert await told(policy(), policies=("another-policy",)) == ""
    assert await told(policy(match={"tenants": ["bank"]})) == ""
