"""Requests that the mechanism can't serve are refused before anything is reserved; policies that could never serve, at load."""

from typing import Any

import pytest

from gateway.dp.admission import check_policy, private_max_tokens, take_records
from gateway.errors import BadRequest, InvalidPolicy
from policies.dp import DpRule
from policies.schema import Policy

TOKEN = {"kind": "token", "clip": 10.0, "temperature": 1.0, "max_tokens": 50}
ENSEMBLE = {"kind": "ensemble", "groups": 4, "clip": 8.0, "temperature": 1.0, "max_tokens": 50, "max_records": 3, "max_record_chars": 10}
LEAF = {"type": "boolean", "x-dp": {"mechanism": "randomized_response", "epsilon": 1.0}}
STRUCTURED = {"kind": "structured", "json_schema": {"type": "object", "properties": {"a": LEAF}}, "max_tokens": 70}
HUGE_LEAF = {"type": "boolean", "x-dp": {"mechanism": "randomized_response", "epsilon": 1e308}}
HUGE = {"kind": "structured", "json_schema": {"type": "object", "properties": {"a": HUGE_LEAF, "b": HUGE_LEAF}}}
CHAT = "chat.completions"


def rule(mechanism: dict[str, Any], **budget: Any) -> DpRule:
    return DpRule.model_validate({"mechanism": mechanism, "budget": {"epsilon": 1e4} | budget})


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_callers_bound_is_taken(name: str) -> None:
    assert private_max_tokens(rule(TOKEN), CHAT, {name: 7}) == 7


def test_a_structured_answer_has_the_policys_bound() -> None:
    assert private_max_tokens(rule(STRUCTURED), CHAT, {"max_tokens": 3}) == 70


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 2.5}, "max_tokens"),
        ({"max_tokens": 51}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 51}, "max_tokens"),
        ({"max_tokens": 5, "n": 2}, "n"),
        ({"max_tokens": 5, "logprobs": True}, "logprobs"),
        ({"max_tokens": 5, "logprobs": 0}, "logprobs"),
        ({"max_tokens": 5, "top_logprobs": 2}, "logprobs"),
        ({"max_tokens": 5, "tools": [{"type": "function"}]}, "tools"),
    ],
)
def test_what_the_mechanism_cannot_serve_is_refused(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        private_max_tokens(rule(TOKEN), CHAT, body)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("mechanism", "api", "body"),
    [
        (TOKEN, "responses", {"max_tokens": 5}),
        (TOKEN, "embeddings", {}),
        (TOKEN, "completions", {"max_tokens": 5, "prompt": ["a", "b"]}),
        (STRUCTURED, "completions", {"max_tokens": 5, "prompt": "a"}),
        (ENSEMBLE, "completions", {"max_tokens": 5, "prompt": "a"}),
    ],
)
def test_apis_that_the_mechanism_does_not_cover_are_refused(mechanism: dict[str, Any], api: str, body: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match=r"differential privacy|mechanism"):
        private_max_tokens(rule(mechanism), api, body)


def test_records_belong_to_ensembles() -> None:
    assert take_records(rule(ENSEMBLE), {"messages": [], "private_records": ["a", "b"]}) == ({"messages": []}, ("a", "b"))
    assert take_records(rule(TOKEN), {"private_records": ["a"]}) == ({"private_records": ["a"]}, ())  # an unknown field, refused as one


@pytest.mark.parametrize("records", [None, [], "a", [""], ["a", 1], ["a"] * 4, ["a" * 11]])
def test_wrong_records_are_refused_without_quoting_them(records: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        take_records(rule(ENSEMBLE), {"private_records": records})
    assert caught.value.param == "private_records"


@pytest.mark.parametrize(
    ("mechanism", "budget", "says"),
    [
        (TOKEN, {"epsilon": 19.0}, "no request could ever be served"),
        (STRUCTURED, {"epsilon": 0.9}, "no request could ever be served"),
        (TOKEN, {"epsilon": 1e9}, "too large"),
        (HUGE, {}, r"beyond all numbers|can't be noised|no request"),
    ],
)
async def test_policies_that_could_never_serve_are_refused(mechanism: dict[str, Any], budget: dict[str, Any], says: str) -> None:
    policy = Policy.model_validate({"id": "p", "dp": rule(mechanism, **budget).model_dump()})
    with pytest.raises(InvalidPolicy, match=says):
        await check_policy(policy)


async def test_a_gaussian_leaf_needs_a_budget_with_delta() -> None:
    leaf = {"type": "number", "minimum": 0, "maximum": 1, "x-dp": {"mechanism": "gaussian", "epsilon": 1.0, "delta": 1e-6}}
    mechanism = {"kind": "structured", "json_schema": {"type": "object", "properties": {"a": leaf}}}
    with pytest.raises(InvalidPolicy, match="delta"):
        await check_policy(Policy.model_validate({"id": "p", "dp": rule(mechanism).model_dump()}))
    await check_policy(Policy.model_validate({"id": "p", "dp": rule(mechanism, delta=1e-5).model_dump()}))


async def test_sound_policies_pass() -> None:
    for mechanism in (TOKEN, ENSEMBLE, STRUCTURED):
        await check_policy(Policy.model_validate({"id": "p", "dp": rule(mechanism).model_dump()}))
    await check_policy(Policy.model_validate({"id": "plain"}))
