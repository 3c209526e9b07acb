"""The one additive quantity that a budget is kept in: its caps, and what a loss costs.

The quantity is fixed when the budget is made. Each coordinate is a privacy filter of its own: releases are admitted, with
parameters chosen adaptively, as long as the sum stays at or under the cap fixed beforehand.
  basic  coordinates (epsilon, delta): basic composition, a valid filter (Rogers, Roth, Ullman & Vadhan 2016, Thm 3.6 and after)
  zcdp   coordinate rho: the filter of Feldman & Zrnic 2021 / Whitehouse, Ramdas, Rogers & Wu 2023 (no price for adaptivity)
  rdp    one coordinate per order, each the fixed-order Renyi filter of Feldman & Zrnic 2021; every coordinate must hold, which is
         stricter than any one of them (taking the best order afterwards is then allowed, choosing it on the way is not)

Amounts are whole numbers of a fixed small unit, costs rounded up and caps down, so that the store adds them exactly.
Not covered: any guarantee over several windows; the loss over a lifetime is the sum, and is shown beside the window's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from gateway.dp.exact import written
from gateway.dp.loss import Loss
from policies.dp import Budget

EPSILON_UNIT = 1e-9
RHO_UNIT = 1e-9
DELTA_UNIT = 1e-15
_UNDER = 1.0 - 1e-12  # caps computed in floating point are taken this much lower, far more than their error
MAX_AMOUNT = 1 << 52  # the store counts in doubles: exact up to 2^53


@dataclass(frozen=True, slots=True)
class Coordinate:
    """One additive quantity: its name, the size of its unit, and its cap in units."""

    name: str
    unit: float
    cap: int


def coordinates(budget: Budget) -> tuple[Coordinate, ...]:
    """The coordinates of a budget with their caps. Raises ValueError where a cap exceeds what the store counts exactly."""
    if budget.accountant == "basic":
        found: tuple[Coordinate, ...] = (
            Coordinate("epsilon", EPSILON_UNIT, _floor(budget.epsilon, EPSILON_UNIT)),
            Coordinate("delta", DELTA_UNIT, _floor(budget.delta or 0.0, DELTA_UNIT)),
        )
    elif budget.accountant == "zcdp":
        found = (Coordinate("rho", RHO_UNIT, _floor(zcdp_cap(budget.epsilon, _delta(budget)), RHO_UNIT)),)
    else:
        found = tuple(
            Coordinate(f"rdp[{order:g}]", EPSILON_UNIT, _floor(rdp_cap(budget.epsilon, _delta(budget), order) * _UNDER, EPSILON_UNIT))
            for order in budget.orders
        )
    if any(c.cap > MAX_AMOUNT for c in found):
        raise ValueError("the budget is too large to be counted exactly")
    return found


def amounts(budget: Budget, loss: Loss) -> tuple[int, ...]:
    """What a loss costs in each coordinate, rounded up."""
    if budget.accountant == "basic":
        return (_ceil(loss.epsilon, EPSILON_UNIT), _ceil(loss.delta, DELTA_UNIT))
    if budget.accountant == "zcdp":
        return (_ceil(loss.rho, RHO_UNIT),)
    # rho-zCDP is order * rho at every order (Bun & Steinke 2016, Def. 1.1); a pure release is never over its epsilon.
    divergences = (written(order) * written(loss.rho) for order in budget.orders)
    if loss.delta == 0.0:
        divergences = (min(each, written(loss.epsilon)) for each in divergences)
    return tuple(_units(each, EPSILON_UNIT) for each in divergences)


def zcdp_cap(epsilon: float, delta: float) -> float:
    """The rho that gives (epsilon, delta): epsilon = rho + 2 sqrt(rho ln(1/delta)) (Bun & Steinke 2016, Prop. 1.3), solved for rho."""
    log_delta = math.log(1 / delta)
    return (epsilon / (math.sqrt(log_delta + epsilon) + math.sqrt(log_delta))) ** 2 * _UNDER  # (sqrt(L + epsilon) - sqrt(L))^2


def rdp_cap(epsilon: float, delta: float, order: float) -> float:
    """The Renyi divergence of this order that gives (epsilon, delta): epsilon - ln(1/delta)/(order - 1) (Mironov 2017, Prop. 3)."""
    return epsilon - math.log(1 / delta) / (order - 1)


def claimed_epsilon(budget: Budget, spent: Sequence[int]) -> float:
    """The epsilon (at the budget's delta) that the spent amounts prove; the sum of epsilons for `basic`. 0 where nothing was spent."""
    if not any(spent):
        return 0.0
    if budget.accountant == "basic":
        return spent[0] * EPSILON_UNIT
    log_delta = math.log(1 / _delta(budget))
    if budget.accountant == "zcdp":
        rho = spent[0] * RHO_UNIT
        return rho + 2 * math.sqrt(rho * log_delta)
    return min(s * EPSILON_UNIT + log_delta / (order - 1) for s, order in zip(spent, budget.orders, strict=True))


def _delta(budget: Budget) -> float:
    assert budget.delta is not None  # the budget's own validation
    return budget.delta


def _units(value: Fraction, unit: float) -> int:
    return math.ceil(value / written(unit))


def _ceil(value: float, unit: float) -> int:
    return _units(written(value), unit)


def _floor(value: float, unit: float) -> int:
    return math.floor(written(value) / written(unit))
