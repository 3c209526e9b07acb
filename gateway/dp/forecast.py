"""What a number of answers, declared ahead, costs under each accountant: a report for choosing a budget.

Declared ahead means that mechanism, parameters and number are fixed before the first answer. Then the best Renyi order may be chosen,
and PLD accounting (Sommer, Meiser & Mohammadi 2019; Koskela, Jalko & Honkela 2020) holds. The ledger never uses this: requests come
adaptively there, and neither is a valid filter.

Each release is bounded by a dominating pair: Laplace and Gaussian leaves by their own, every other pure release by that of its epsilon
(Kairouz, Oh & Viswanath 2015). Not covered: what adaptive callers would add.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gateway.dp.accountant import amounts, coordinates
from gateway.dp.loss import per_token, worst_case
from gateway.dp.numeric import gaussian_rho
from policies.dp import DpRule, StructuredRule

_ORDERS = tuple(1.0 + step / 10 for step in range(1, 100)) + tuple(float(order) for order in range(11, 512))
_GRID_POINTS = 200_000  # of the privacy loss; the rounding is upwards, so fewer points only loosen the bound


@dataclass(frozen=True, slots=True)
class Forecast:
    """Epsilons of `requests` answers of `tokens` tokens, at `delta`; `basic_delta` goes with `basic` alone."""

    requests: int
    tokens: int
    delta: float
    basic: float
    basic_delta: float
    zcdp: float
    rdp: float
    pld: float | None  # None where dp-accounting is not installed
    fitting: int  # how many such answers one window of the budget admits


def forecast(rule: DpRule, requests: int, tokens: int, delta: float) -> Forecast:
    """Raises ValueError for numbers that mean nothing."""
    if requests < 1 or tokens < 1 or not 0.0 < delta < 1.0:
        raise ValueError("requests and tokens must be 1 or more, delta between 0 and 1")
    one = worst_case(rule, tokens)
    whole, log_delta = one.times(requests), math.log(1 / delta)

    def renyi(order: float) -> float:
        each = order * one.rho if one.delta else min(order * one.rho, one.epsilon)
        return each * requests + log_delta / (order - 1)

    fits = (space.cap // units for space, units in zip(coordinates(rule.budget), amounts(rule.budget, one), strict=True) if units)
    return Forecast(
        requests=requests,
        tokens=tokens,
        delta=delta,
        basic=whole.epsilon,
        basic_delta=whole.delta,
        zcdp=whole.rho + 2 * math.sqrt(whole.rho * log_delta),
        rdp=min(renyi(order) for order in _ORDERS),
        pld=_pld(rule, requests, tokens, delta, whole.epsilon),
        fitting=min(fits),
    )


def _pld(rule: DpRule, requests: int, tokens: int, delta: float, basic: float) -> float | None:
    try:
        # An optional dependency, and seconds of import that nothing else needs.
        from dp_accounting.pld import common
        from dp_accounting.pld import privacy_loss_distribution as pld
    except ImportError:
        return None
    step = max(1e-4, 2 * basic / _GRID_POINTS)

    def pure(epsilon: float, count: int) -> pld.PrivacyLossDistribution:
        one = common.DifferentialPrivacyParameters(epsilon, 0.0)
        return pld.from_privacy_parameters(one, value_discretization_interval=step).self_compose(count)

    mechanism = rule.mechanism
    if not isinstance(mechanism, StructuredRule):
        return float(pure(per_token(mechanism).epsilon, requests * tokens).get_epsilon_for_delta(delta))
    total = None
    for leaf in mechanism.leaves:
        if leaf.kind == "dropped":
            continue
        if leaf.mechanism == "laplace":
            released = pld.from_laplace_mechanism(1 / leaf.epsilon, value_discretization_interval=step).self_compose(requests)
        elif leaf.mechanism == "gaussian":
            noise_multiplier = 1 / math.sqrt(2 * gaussian_rho(leaf.epsilon, leaf.delta))
            released = pld.from_gaussian_mechanism(noise_multiplier, value_discretization_interval=step).self_compose(requests)
        else:
            released = pure(leaf.epsilon, requests)
        total = released if total is None else total.compose(released)
    assert total is not None  # a structured rule releases a leaf
    return float(total.get_epsilon_for_delta(delta))
