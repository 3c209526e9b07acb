"""Integer sampling weights whose ratios are bounded exactly, so that no rounding error can break the privacy claim.

A utility u in [-C, 0] is rounded to a grid of K steps: q = round(-u K / C), an integer in 0..K. With s groups the
distances are summed: Q in 0..sK, and replacing one group's input moves every Q by at most R steps: K for the group itself,
and, where groups share kernels whose rounding depends on the whole batch, a few steps for each other group (`reach_steps`).
A table W maps Q to a positive integer weight close to 2^44 exp(-Q C / (K s T)); a candidate is then drawn with probability
W[Q_i] / sum_j W[Q_j], in exact integer arithmetic (`draw`). The privacy of that draw needs two properties of W only, and both
are checked when the table is built:

    monotone:  W[q] >= W[q + 1] >= 1
    bounded:   W[q] <= e^a W[q + R],   a = C R / (s T K)

Each weight of a neighbouring input then lies within a factor e^(+-a), and so does the sum: the log-ratio of the
probabilities spans at most 2a over all candidates. That is 2a-bounded-range, hence 2a-DP (McSherry & Talwar 2007; Durfee &
Rogers 2019; Dong, Durfee & Rogers 2020). How float32 logits were rounded to the grid touches utility alone: the grid is
a function of one group's logits, whatever its rounding (Mironov 2012 is about noise that is added in floating point;
none is added here).

Not covered: the time the draw takes, and the number of draws.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, localcontext
from functools import lru_cache
from itertools import pairwise

GRID_STEPS = 4096  # K: one step is C/4096, far under the 2^-7 resolution of bfloat16 logits
SCALE_BITS = 44  # weights up to about 2^44: the sum over 2^18 candidates stays under 2^63
MAX_RANGE = 30.0  # largest C/T: exp(-30) 2^44 is still 1.6, so that the smallest weight means something
MAX_CANDIDATES = 1 << 18
MAX_GROUPS = 64

_DOWN = Context(prec=60, rounding=ROUND_FLOOR)


def _exp_lower(numerator: float, denominator: float, times: int = 1, parts: int = 1) -> Decimal:
    """A lower bound on exp(numerator times / (denominator parts)), within 1e-50 of it relatively.

    The two numbers are the decimals that their shortest forms write, as the claim's are (`gateway.dp.exact`).
    """
    with localcontext(_DOWN):
        exponent = Decimal(repr(numerator)) * times / (Decimal(repr(denominator)) * parts)
        return exponent.exp() * (1 - Decimal("1e-50"))


def check_range(clip: float, temperature: float, groups: int = 1) -> None:
    """Raise ValueError unless clip C and temperature T are positive and finite, C/T <= 30 and 1 <= groups <= 64."""
    for name, value in (("clip", clip), ("temperature", temperature)):
        if not (math.isfinite(value) and value > 0.0):
            raise ValueError(f"{name} must be positive and finite")
    if clip / temperature > MAX_RANGE:
        raise ValueError(
            f"clip / temperature must be at most {MAX_RANGE:g}: beyond it the guarantee is over 60 per token and means nothing"
        )
    if not 1 <= groups <= MAX_GROUPS:
        raise ValueError(f"groups must be between 1 and {MAX_GROUPS}")


def reach_steps(clip: float, groups: int = 1, crosstalk: float = 0.0) -> int:
    """R: by how many grid steps the summed distance of a candidate can move when one group's input is replaced.

    `crosstalk` (logits) bounds how far each other group's logits may move with it, through kernels whose rounding depends on the
    batch; half of a step's rounding on either side adds one step. 0 says that the kernels are batch-invariant.
    """
    if not (math.isfinite(crosstalk) and 0.0 <= crosstalk <= clip):
        raise ValueError("crosstalk must lie between 0 and clip")
    beside = math.ceil(2 * crosstalk * GRID_STEPS / clip) + 1 if crosstalk > 0.0 else 0
    return GRID_STEPS + (groups - 1) * beside


@lru_cache(maxsize=64)
def exponential_weights(clip: float, temperature: float, groups: int = 1, crosstalk: float = 0.0) -> tuple[int, ...]:
    """The table W of s K + 1 weights for the exponential mechanism exp(u / T) over the mean of s clipped utilities.

    Raises ValueError as `check_range` and `reach_steps` do. The bound a holds exactly (see `is_bounded`).
    """
    check_range(clip, temperature, groups)
    last = groups * GRID_STEPS
    reach = min(last, reach_steps(clip, groups, crosstalk))
    base = last - reach
    step = clip / (temperature * last)
    factor = _exp_lower(clip, temperature, reach, last)
    table = [0] * (last + 1)
    table[last] = max(1, math.ceil(math.ldexp(math.exp(-step * last), SCALE_BITS)))
    top = int((factor * table[last]).to_integral_value(rounding=ROUND_FLOOR))
    for q in range(last - 1, base, -1):
        table[q] = min(top, max(table[q + 1], math.ceil(math.ldexp(math.exp(-step * q), SCALE_BITS))))
    with localcontext(_DOWN):
        for q in range(base, -1, -1):
            table[q] = int((factor * table[q + reach]).to_integral_value(rounding=ROUND_FLOOR))
    weights = tuple(table)
    if not is_bounded(weights, clip, temperature, groups, crosstalk):
        raise ArithmeticError("the weight table breaks its own bound; refusing to sample from it")
    return weights


def is_bounded(weights: tuple[int, ...], clip: float, temperature: float, groups: int = 1, crosstalk: float = 0.0) -> bool:
    """Whether a table is positive, monotone and within e^a over R steps, in exact arithmetic."""
    last = len(weights) - 1
    reach = min(last, reach_steps(clip, groups, crosstalk))
    factor = _exp_lower(clip, temperature, reach, last)
    monotone = all(a >= b for a, b in pairwise(weights))
    with localcontext(Context(prec=120, rounding=ROUND_CEILING)):
        bounded = all(weights[q] <= factor * weights[q + reach] for q in range(len(weights) - reach))
    return weights[-1] >= 1 and monotone and bounded


@lru_cache(maxsize=64)
def argmax_weights(epsilon: float) -> tuple[int, int]:
    """(weight of the best candidate, weight of each other) for k-ary randomised response on the argmax: ratio <= e^epsilon.

    The sum of the weights is the same for every input, so the mechanism is epsilon-DP (Kairouz, Oh & Viswanath 2016).
    Raises ValueError unless 0 < epsilon <= 30.
    """
    if not (math.isfinite(epsilon) and 0.0 < epsilon <= MAX_RANGE):
        raise ValueError(f"epsilon must be over 0 and at most {MAX_RANGE:g} per token")
    other = max(1, math.ceil(math.ldexp(math.exp(-epsilon), SCALE_BITS)))
    best = int((_exp_lower(epsilon, 1.0) * other).to_integral_value(rounding=ROUND_FLOOR))
    return max(best, other), other
