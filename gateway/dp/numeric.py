"""Noise for bounded numbers and categories, by OpenDP's mechanisms.

OpenDP samples exactly on a grid with the operating system's randomness (safe against the floating-point attack of Mironov
2012) and computes each mechanism's epsilon itself, rounded up; every constructor here asks it (`map`) and adds noise until that is
at most what the policy declares, to the last digit. The Laplace scale is sensitivity / epsilon (Dwork et al. 2006), never epsilon.

Unit: whatever the caller's sensitivity is computed for. Not covered: timing (OpenDP's samplers take data-independent but
random time).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any, cast

from opendp.combinators import make_zCDP_to_approxDP
from opendp.domains import atom_domain
from opendp.measurements import make_gaussian, make_laplace, make_randomized_response
from opendp.metrics import absolute_distance
from opendp.mod import enable_features

from gateway.dp.exact import written
from policies.dp_schema import Leaf, Scalar

enable_features("contrib")  # opendp.prelude would import scikit-learn and more, where they are installed: seconds at every start

Release = Callable[[Any], Any]
_NUDGE = 1.0 + 1e-12  # by which a scale grows until OpenDP's map, which is rounded up, is within the declared loss
_NUDGES = 1000


def laplace_scale(sensitivity: float, epsilon: float) -> float:
    """b = sensitivity / epsilon: Lap(b) has density exp(-|x|/b) / (2b) and is epsilon-DP (Dwork et al. 2006, Prop. 1)."""
    return sensitivity / epsilon


@lru_cache(maxsize=1024)
def gaussian_rho(epsilon: float, delta: float) -> float:
    """The largest rho whose conversion to (epsilon', delta) stays at epsilon' <= epsilon, by OpenDP's exact conversion.

    Bisected; the simple bound (sqrt(L + epsilon) - sqrt(L))^2 with L = ln(1/delta) (Bun & Steinke 2016, Prop. 1.3) starts it.
    """
    log_delta = math.log(1 / delta)
    low = (epsilon / (math.sqrt(log_delta + epsilon) + math.sqrt(log_delta))) ** 2 * (1 - 1e-12)
    high = low * 8 + epsilon
    for _ in range(60):
        middle = (low + high) / 2
        if _gaussian_epsilon(1.0 / math.sqrt(2 * middle), delta) <= written(epsilon):
            low = middle
        else:
            high = middle
    return low


def _gaussian_epsilon(noise_multiplier: float, delta: float) -> Fraction:
    measurement = make_gaussian(atom_domain(T=float, nan=False), absolute_distance(T=float), scale=noise_multiplier)
    converted: Any = make_zCDP_to_approxDP(measurement)
    return Fraction(float(converted.map(1.0).epsilon(delta)))


@lru_cache(maxsize=1024)
def number_release(leaf: Leaf) -> Release:
    """Value in the leaf's bounds -> noised value (float, or int), not clamped again. Raises ArithmeticError where OpenDP disagrees."""
    integer = leaf.kind == "integer"
    kind: Any = "i64" if integer else float  # OpenDP's `int` has 32 bits
    domain = atom_domain(T="i64") if integer else atom_domain(T=float, nan=False)
    metric = absolute_distance(T=kind)
    distance = int(leaf.sensitivity) if integer else leaf.sensitivity
    if leaf.mechanism == "laplace":
        make: Any = make_laplace
        scale, declared = laplace_scale(leaf.sensitivity, leaf.epsilon), leaf.epsilon
    else:
        declared = gaussian_rho(leaf.epsilon, leaf.delta)
        make, scale = make_gaussian, leaf.sensitivity / math.sqrt(2 * declared)
    for _ in range(_NUDGES):
        measurement = make(domain, metric, scale=scale)
        if _within(measurement, distance, declared):
            return cast(Release, measurement)
        scale *= _NUDGE
    raise ArithmeticError("the mechanism would spend more than the policy declares; nothing was released")


@lru_cache(maxsize=1024)
def category_release(categories: tuple[Scalar, ...], epsilon: float) -> Release:
    """Category -> category by k-ary randomised response (Kairouz, Oh & Viswanath 2016): true with e^eps / (e^eps + k - 1)."""
    size = len(categories)
    indices = list(range(size))
    truth = 1.0 / (1.0 + (size - 1) * math.exp(-epsilon))
    # OpenDP takes the probability of the truth; lower it until its own map is within epsilon.
    while True:
        measurement = make_randomized_response(indices, prob=truth)
        if _within(measurement, 1, epsilon):
            break
        truth = truth - max(math.ulp(truth), (1.0 - truth) * 1e-13)
    return cast(Release, measurement)


def _within(measurement: Any, distance: float, declared: float) -> bool:
    """Whether OpenDP says that a release for inputs at this distance costs at most that: epsilon, or rho for a Gaussian."""
    loss = float(measurement.map(distance))
    return math.isfinite(loss) and Fraction(loss) <= written(declared)
