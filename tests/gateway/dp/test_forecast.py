"""The report agrees with itself and with closed forms; it never claims less than PLD, which is the tightest here."""

import math
from typing import Any

import pytest

from gateway.dp.forecast import forecast
from policies.dp import DpRule

LEAVES = {
    "a": {"type": "number", "minimum": 0, "maximum": 1, "x-dp": {"mechanism": "laplace", "epsilon": 0.1}},
    "b": {"type": "boolean", "x-dp": {"mechanism": "randomized_response", "epsilon": 0.2}},
    "c": {"type": "string", "x-dp": {"mechanism": "drop"}},
}
STRUCTURED = {"kind": "structured", "json_schema": {"type": "object", "properties": LEAVES}}
TOKEN = {"kind": "token", "clip": 0.1, "temperature": 1.0, "max_tokens": 10}
ARGMAX = {"kind": "token", "selection": "argmax", "epsilon_per_token": 0.2, "max_tokens": 10}


def rule(mechanism: dict[str, Any], **budget: Any) -> DpRule:
    return DpRule.model_validate({"mechanism": mechanism, "budget": {"epsilon": 3.0} | budget})


@pytest.mark.parametrize("mechanism", [STRUCTURED, TOKEN, ARGMAX])
def test_pld_is_the_tightest_for_pure_releases_and_every_figure_is_a_bound(mechanism: dict[str, Any]) -> None:
    found = forecast(rule(mechanism), 50, 10, 1e-6)
    assert found.pld is not None
    assert 0.0 < found.pld <= found.basic
    assert found.rdp <= found.zcdp * 1.001  # the best order of a fine grid
    if mechanism is ARGMAX:
        assert found.pld <= found.rdp <= found.basic


def test_gaussian_leaves_agree_with_their_closed_form() -> None:
    leaf = {"type": "number", "minimum": 0, "maximum": 4, "x-dp": {"mechanism": "gaussian", "epsilon": 0.5, "delta": 1e-6}}
    mechanism = {"kind": "structured", "json_schema": {"type": "object", "properties": {"a": leaf}}}
    one = forecast(rule(mechanism, delta=1e-4), 1, 1, 1e-6)
    assert one.pld is not None
    assert one.pld <= 0.5  # the scale was chosen for (0.5, 1e-6) by a looser conversion
    four = forecast(rule(mechanism, delta=1e-4), 4, 1, 1e-6)
    assert (four.basic, four.basic_delta) == (2.0, pytest.approx(4e-6))
    assert four.pld is not None
    # Four Gaussians are one of half the noise multiplier.
    assert one.pld < four.pld < 2.6 * one.pld
    assert not math.isnan(four.zcdp)


def test_how_many_answers_a_window_admits() -> None:
    assert forecast(rule(STRUCTURED), 1, 1, 1e-6).fitting == 10
    assert forecast(rule(TOKEN), 1, 5, 1e-6).fitting == 3


@pytest.mark.parametrize(("requests", "tokens", "delta"), [(0, 1, 1e-6), (1, 0, 1e-6), (1, 1, 0.0), (1, 1, 1.0)])
def test_numbers_that_mean_nothing_are_refused(requests: int, tokens: int, delta: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        forecast(rule(TOKEN), requests, tokens, delta)
