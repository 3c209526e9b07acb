"""The integer weights keep the bound exactly, whatever the parameters: the privacy of a draw rests on nothing else."""

import math
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dp.vllm_plugin.weights import GRID_STEPS, argmax_weights, check_range, exponential_weights, is_bounded, reach_steps


@given(a=st.floats(0.001, 30.0), temperature=st.floats(0.01, 100.0), groups=st.sampled_from([1, 2, 5, 8]))
@settings(max_examples=25, deadline=None)
def test_ratio_over_a_full_step_is_within_e_to_the_a(a: float, temperature: float, groups: int) -> None:
    clip = min(a, 29.999) * temperature
    weights = exponential_weights(clip, temperature, groups)
    assert len(weights) == groups * GRID_STEPS + 1
    assert all(x >= y for x, y in pairwise(weights))
    assert weights[-1] >= 1
    # An independent check: ln of exact rationals, against the bound in floating point with its own error allowed for.
    bound = clip / (groups * temperature)
    for q in range(0, len(weights) - GRID_STEPS, 97):
        ratio = Fraction(weights[q], weights[q + GRID_STEPS])
        assert math.log(ratio.numerator) - math.log(ratio.denominator) <= bound * (1 + 1e-12) + 1e-12


@given(crosstalk=st.floats(0.001, 2.0), groups=st.sampled_from([2, 3, 8]), a=st.floats(0.5, 25.0))
@settings(max_examples=15, deadline=None)
def test_crosstalk_widens_the_step_over_which_the_bound_holds(crosstalk: float, groups: int, a: float) -> None:
    weights = exponential_weights(8.0, 8.0 / a, groups, crosstalk)
    last = len(weights) - 1
    reach = min(last, reach_steps(8.0, groups, crosstalk))
    assert reach >= GRID_STEPS + (groups - 1) * crosstalk * GRID_STEPS / 8.0
    bound = a * reach / (groups * GRID_STEPS)
    for q in range(0, last - reach + 1, 61):
        assert math.log(weights[q]) - math.log(weights[q + reach]) <= bound * (1 + 1e-12) + 1e-12


def test_weights_follow_the_exponential() -> None:
    weights = exponential_weights(8.0, 2.0)
    for q in (0, 1, 1000, GRID_STEPS):
        assert weights[q] / weights[0] == pytest.approx(math.exp(-4.0 * q / GRID_STEPS), rel=1e-9)


def test_a_table_that_breaks_the_bound_is_seen() -> None:
    weights = list(exponential_weights(4.0, 1.0))
    weights[0] += 1 + weights[0] // 1000
    assert not is_bounded(tuple(weights), 4.0, 1.0)
    rising = list(exponential_weights(4.0, 1.0))
    rising[5] = rising[4] + 1
    assert not is_bounded(tuple(rising), 4.0, 1.0)


@pytest.mark.parametrize(
    ("clip", "temperature", "groups"),
    [(0.0, 1.0, 1), (-1.0, 1.0, 1), (1.0, 0.0, 1), (math.nan, 1.0, 1), (1.0, math.inf, 1), (31.0, 1.0, 1), (1.0, 1.0, 0), (1.0, 1.0, 65)],
)
def test_bad_ranges_are_refused(clip: float, temperature: float, groups: int) -> None:
    with pytest.raises(ValueError, match=r"clip|temperature|groups"):
        check_range(clip, temperature, groups)


@given(epsilon=st.floats(1e-6, 30.0))
@settings(max_examples=200, deadline=None)
def test_argmax_ratio_is_within_epsilon(epsilon: float) -> None:
    best, other = argmax_weights(epsilon)
    assert 1 <= other <= best
    assert math.log(best) - math.log(other) <= epsilon * (1 + 1e-12) + 1e-15
    assert best / other == pytest.approx(math.exp(epsilon), rel=2e-3 if epsilon < 26 else 0.5)
