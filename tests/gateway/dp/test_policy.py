"""Bad numbers, open shapes and leaves without a mechanism are refused when the policy is loaded, with a message that names them."""

from typing import Any

import pytest
from pydantic import ValidationError

from policies.dp import Budget, DpRule, EnsembleRule, StructuredRule, TokenRule, Window
from policies.dp_schema import leaves_of, upstream_schema
from policies.schema import Policy

NUMBER = {"type": "number", "minimum": 0, "maximum": 10, "x-dp": {"mechanism": "laplace", "epsilon": 1.0}}
TOKEN = {"kind": "token", "clip": 10.0, "temperature": 1.0, "max_tokens": 50}


def shape(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def test_a_policy_carries_its_dp_section() -> None:
    policy = Policy.model_validate({"id": "private", "dp": {"mechanism": TOKEN, "budget": {"epsilon": 5.0}}})
    assert policy.dp is not None
    assert isinstance(policy.dp.mechanism, TokenRule)
    assert Policy.model_validate({"id": "plain"}).dp is None


def test_noise_and_blind_use_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="exclude each other"):
        Policy.model_validate({"id": "private", "blind": "allow", "dp": {"mechanism": TOKEN, "budget": {"epsilon": 5.0}}})
    assert Policy.model_validate({"id": "plain"}).blind == "refuse"


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan"), float("inf")])
def test_epsilon_must_be_positive_and_finite(epsilon: float) -> None:
    with pytest.raises(ValidationError):
        Budget(epsilon=epsilon)
    with pytest.raises(ValidationError):
        TokenRule(kind="token", selection="argmax", epsilon_per_token=epsilon, max_tokens=5)
    with pytest.raises(ValidationError, match="epsilon"):
        StructuredRule(kind="structured", json_schema=shape(a=NUMBER | {"x-dp": {"mechanism": "laplace", "epsilon": epsilon}}))


@pytest.mark.parametrize("delta", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_delta_lies_between_zero_and_one(delta: float) -> None:
    with pytest.raises(ValidationError):
        Budget(epsilon=1.0, delta=delta)
    gaussian = {"mechanism": "gaussian", "epsilon": 1.0, "delta": delta}
    with pytest.raises(ValidationError, match="delta"):
        StructuredRule(kind="structured", json_schema=shape(a=NUMBER | {"x-dp": gaussian}))


@pytest.mark.parametrize(
    "change",
    [{"clip": 0.0}, {"temperature": 0.0}, {"clip": None}, {"clip": 31.0}, {"max_tokens": 0}, {"epsilon_per_token": 1.0}, {"cip": 3}],
)
def test_token_rules_need_their_parameters(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TokenRule.model_validate(TOKEN | change)


def test_max_tokens_must_stand_in_the_rule() -> None:
    with pytest.raises(ValidationError, match="max_tokens"):
        TokenRule.model_validate({k: v for k, v in TOKEN.items() if k != "max_tokens"})


@pytest.mark.parametrize(
    "given",
    [
        {"accountant": "zcdp", "epsilon": 1.0},
        {"accountant": "rdp", "epsilon": 1.0, "delta": 1e-6},
        {"accountant": "basic", "epsilon": 1.0, "orders": (8.0,)},
        {"accountant": "rdp", "epsilon": 1.0, "delta": 1e-6, "orders": (2.0,)},
        {"epsilon": 1.0, "window": {"kind": "rolling"}},
        {"epsilon": 1.0, "window": {"kind": "calendar", "period": "day", "seconds": 5}},
    ],
)
def test_incomplete_budgets_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Budget.model_validate(given)


def test_ensembles_and_windows_have_limits() -> None:
    with pytest.raises(ValidationError):
        EnsembleRule(kind="ensemble", groups=1, clip=1.0, temperature=1.0, max_tokens=5)
    with pytest.raises(ValidationError):
        Window(kind="rolling", seconds=0)


BAD_SHAPES = {
    "reversed bounds": shape(a=NUMBER | {"minimum": 11}),
    "equal bounds": shape(a=NUMBER | {"minimum": 10}),
    "missing bound": shape(a={k: v for k, v in NUMBER.items() if k != "maximum"}),
    "infinite bound": shape(a=NUMBER | {"maximum": float("inf")}),
    "open object": shape(a=NUMBER) | {"additionalProperties": True},
    "no properties": {"type": "object"},
    "optional key": shape(a=NUMBER, b=NUMBER) | {"required": ["a"]},
    "not an object": NUMBER,
    "no mechanism": shape(a={"type": "number", "minimum": 0, "maximum": 1}),
    "unknown mechanism": shape(a=NUMBER | {"x-dp": {"mechanism": "noise", "epsilon": 1}}),
    "free text noised": shape(a={"type": "string", "x-dp": {"mechanism": "laplace", "epsilon": 1}}),
    "number answered at random": shape(a=NUMBER | {"x-dp": {"mechanism": "randomized_response", "epsilon": 1}}),
    "reference": shape(a={"$ref": "#/properties/a"}),
    "union": shape(a={"anyOf": [NUMBER, NUMBER]}),
    "nullable": shape(a=NUMBER | {"type": ["number", "null"]}),
    "open array": shape(a={"type": "array", "items": NUMBER, "minItems": 1, "maxItems": 2}),
    "array without items": shape(a={"type": "array", "minItems": 1, "maxItems": 1}),
    "fraction bounds of an integer": shape(a=NUMBER | {"type": "integer", "maximum": 2.5}),
    "one category": shape(a={"enum": ["x"], "x-dp": {"mechanism": "randomized_response", "epsilon": 1}}),
    "repeated category": shape(a={"enum": ["x", "x"], "x-dp": {"mechanism": "randomized_response", "epsilon": 1}}),
    "extra parameter": shape(a=NUMBER | {"x-dp": {"mechanism": "laplace", "epsilon": 1, "delta": 0.1}}),
    "unknown keyword": shape(a=NUMBER | {"pattern": "x"}),
    "nothing released": shape(a={"type": "string", "x-dp": {"mechanism": "drop"}}),
    "too many leaves": shape(a={"type": "array", "items": NUMBER, "minItems": 300, "maxItems": 300}),
}


@pytest.mark.parametrize("name", BAD_SHAPES)
def test_shapes_that_are_not_fixed_or_noised_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="schema"):
        StructuredRule(kind="structured", json_schema=BAD_SHAPES[name])


def test_a_recursive_object_is_refused() -> None:
    knot: dict[str, Any] = shape(a=NUMBER)
    knot["properties"]["self"] = knot
    with pytest.raises(ValueError, match="deeper"):
        leaves_of(knot)


def test_the_upstream_schema_is_closed_and_carries_no_privacy_parameters() -> None:
    schema = upstream_schema(shape(a=NUMBER, b=shape(c={"enum": ["x", "y"], "x-dp": {"mechanism": "drop"}})))
    assert "x-dp" not in str(schema)
    assert schema["required"] == ["a", "b"]
    assert schema["properties"]["b"]["additionalProperties"] is False


def test_a_rule_names_its_mechanism_once() -> None:
    with pytest.raises(ValidationError):
        DpRule.model_validate({"mechanism": {"kind": "other"}, "budget": {"epsilon": 1.0}})
