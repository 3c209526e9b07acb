"""The released object has its one shape, whatever the model said, and each leaf's noise has the scale that was declared."""

import json
import math
import statistics
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dp.loss import structured_loss
from gateway.dp.numeric import category_release, gaussian_rho, laplace_scale, number_release
from gateway.dp.structured import check_release, release, response_format
from policies.dp import StructuredRule
from policies.dp_schema import Leaf


def rule(**properties: Any) -> StructuredRule:
    return StructuredRule(kind="structured", json_schema={"type": "object", "properties": properties})


def number(kind: str = "number", epsilon: float = 1.0, **changes: Any) -> dict[str, Any]:
    return {"type": kind, "minimum": 0, "maximum": 10, "x-dp": {"mechanism": "laplace", "epsilon": epsilon}} | changes


FULL = rule(
    reason={"type": "string", "x-dp": {"mechanism": "drop"}},
    score=number(),
    count=number("integer"),
    spread=number(**{"x-dp": {"mechanism": "gaussian", "epsilon": 1.0, "delta": 1e-6}}),
    risk={"enum": ["low", "middle", "high"], "x-dp": {"mechanism": "randomized_response", "epsilon": 2.0}},
    urgent={"type": "boolean", "x-dp": {"mechanism": "randomized_response", "epsilon": 0.5}},
    series={"type": "array", "minItems": 2, "maxItems": 2, "items": number()},
)


def assert_shape(released: dict[str, Any]) -> None:
    assert list(released) == ["score", "count", "spread", "risk", "urgent", "series"]
    assert isinstance(released["score"], float)
    assert 0 <= released["score"] <= 10
    assert type(released["count"]) is int
    assert released["risk"] in ("low", "middle", "high")
    assert type(released["urgent"]) is bool
    assert len(released["series"]) == 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
)


@given(
    answer=st.none() | st.text() | json_values.map(json.dumps) | json_values.map(lambda v: json.dumps({"score": v, "series": v, "risk": v}))
)
@settings(max_examples=60, deadline=None)
def test_the_shape_never_depends_on_the_answer(answer: str | None) -> None:
    assert_shape(release(FULL, answer))


def test_deep_nesting_and_huge_numbers_are_failed_answers() -> None:
    assert_shape(release(FULL, "[" * 200_000))
    assert_shape(release(FULL, '{"score": 1e999, "count": ' + "9" * 4000 + "}"))
    check_release(FULL)


def test_a_good_answer_shows_at_large_epsilon_and_a_failed_one_shows_the_default() -> None:
    sharp = rule(
        score=number(epsilon=1e6),
        risk={"enum": ["a", "b", "c"], "x-dp": {"mechanism": "randomized_response", "epsilon": 30.0}},
        n=number("integer", 1e6),
    )
    assert release(sharp, '{"score": 7.25, "risk": "c", "n": 3}') == {"score": pytest.approx(7.25, abs=0.01), "risk": "c", "n": 3}
    assert release(sharp, '{"score": 99, "risk": "z", "n": true}') == {"score": pytest.approx(10, abs=0.01), "risk": "a", "n": 5}
    assert release(sharp, None) == {"score": pytest.approx(5, abs=0.01), "risk": "a", "n": 5}


def test_the_laplace_scale_is_sensitivity_over_epsilon() -> None:
    assert laplace_scale(10.0, 0.5) == 20.0
    leaf = Leaf(("x",), "number", "laplace", epsilon=0.5, lower=0.0, upper=10.0)
    noisy = number_release(leaf)
    spread = statistics.fmean(abs(noisy(5.0) - 5.0) for _ in range(4000))
    # E|Lap(b)| = b with standard error b/sqrt(4000): 5 standard errors fail a right mechanism once in 1.7 million runs.
    assert spread == pytest.approx(20.0, abs=5 * 20.0 / math.sqrt(4000))


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 5.0, 20.0, 50.0, 1e6])  # from 37 on the truth's probability is the double under 1
@pytest.mark.parametrize("size", [2, 3, 10, 100])
def test_randomised_response_stays_within_epsilon(size: int, epsilon: float) -> None:
    measurement: Any = category_release(tuple(str(i) for i in range(size)), epsilon)
    assert min(epsilon, 36.0) * (1 - 1e-6) <= measurement.map(1) <= epsilon


def test_gaussian_leaves_convert_both_ways() -> None:
    rho = gaussian_rho(1.0, 1e-6)
    simple = (math.sqrt(math.log(1e6) + 1.0) - math.sqrt(math.log(1e6))) ** 2
    assert simple < rho < 1.5 * simple
    total = structured_loss(FULL)
    assert total.epsilon == pytest.approx(1 + 1 + 1 + 2 + 0.5 + 2)
    assert total.delta == 1e-6
    assert total.rho == pytest.approx(0.5 + 0.5 + rho + 2.0 + 0.125 + 1.0)


def test_the_model_is_asked_for_the_shape_alone() -> None:
    asked = response_format(FULL)
    assert asked["json_schema"]["strict"] is True
    assert "epsilon" not in json.dumps(asked)


def test_bounds_that_no_mechanism_can_noise_are_found_at_load() -> None:
    with pytest.raises(ValueError, match="can't be noised"):
        check_release(rule(score=number(epsilon=1e-320)))


def test_integers_go_beyond_32_bits() -> None:
    wide = rule(n=number("integer", 1e6, minimum=-(2**40), maximum=2**40))
    check_release(wide)
    assert release(wide, '{"n": 123456789012}')["n"] == pytest.approx(123456789012, rel=1e-3)
