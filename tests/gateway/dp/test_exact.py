"""Parameters are decimals, and what is computed from them is never too small."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dp.accountant import zcdp_cap
from gateway.dp.exact import up, written
from gateway.dp.loss import Loss, exponential_epsilon, pure_rho
from policies.dp_schema import Leaf

positive = st.floats(1e-12, 1e12)


@given(value=st.fractions(min_value=Fraction(1, 10**12), max_value=10**12))
def test_up_is_the_least_double_that_writes_no_less(value: Fraction) -> None:
    found = up(value)
    assert written(found) >= value
    assert written(math.nextafter(found, 0.0)) < value


def test_ten_times_a_tenth_is_one() -> None:
    assert Loss(0.1, 1e-7, 0.1).times(10) == Loss(1.0, 1e-6, 1.0)
    assert Loss(0.1).plus(Loss(0.2)) == Loss(0.3)


@given(epsilon=positive, count=st.integers(1, 10_000))
def test_sums_never_fall_short(epsilon: float, count: int) -> None:
    assert written(Loss(epsilon).times(count).epsilon) >= written(epsilon) * count
    assert written(pure_rho(epsilon)) >= written(epsilon) ** 2 / 2


@given(clip=st.floats(0.01, 20.0), temperature=st.floats(0.7, 50.0))
def test_the_standard_bound_never_falls_short(clip: float, temperature: float) -> None:
    assert written(exponential_epsilon(clip, temperature)) >= 2 * written(clip) / written(temperature)


@given(a=st.floats(1e-9, 29.0), candidates=st.integers(2, 1 << 18))
def test_the_bound_by_vocabulary_never_falls_short(a: float, candidates: int) -> None:
    """Against 60 digits: near 0 a naive difference of logarithms would lose a millionth of it."""
    with localcontext() as context:
        context.prec = 60
        others, exact = candidates - 1, Decimal(a)
        truth = ((1 + others * exact.exp()) / (1 + others * (-exact).exp())).ln()
        found = exponential_epsilon(a, 1.0, candidates)
        assert truth <= Decimal(found) <= truth * Decimal("1.00000001") or found == exponential_epsilon(a, 1.0)


@given(epsilon=st.floats(1e-6, 100.0), delta=st.floats(1e-12, 0.1))
def test_caps_of_rho_are_never_too_high(epsilon: float, delta: float) -> None:
    with localcontext() as context:
        context.prec = 60
        log_delta = -Decimal(delta).ln()
        truth = ((log_delta + Decimal(epsilon)).sqrt() - log_delta.sqrt()) ** 2
        assert truth * Decimal("0.999999") <= Decimal(zcdp_cap(epsilon, delta)) <= truth


@pytest.mark.parametrize(("lower", "upper"), [(-1e-20, 1.0), (0.1, 0.3), (-(2.0**53) + 1, 2.0**53 - 2)])
def test_sensitivity_is_never_rounded_down(lower: float, upper: float) -> None:
    leaf = Leaf(("x",), "number", "laplace", 1.0, lower=lower, upper=upper)
    assert Fraction(leaf.sensitivity) >= Fraction(upper) - Fraction(lower)
