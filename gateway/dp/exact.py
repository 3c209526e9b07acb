"""Privacy parameters are the decimals that were written; what is computed from them is rounded against the spender.

A policy says `epsilon: 0.1`; the double nearest to it is another number. Here a parameter means the decimal that its shortest form
writes (`repr`), sums and products are exact rationals, and `up` gives the least double that writes no less. So ten releases of 0.1
cost exactly 1, and no loss is ever understated by a rounding error. It knows nothing of what the numbers mean.
"""

from __future__ import annotations

import math
from fractions import Fraction


def written(value: float) -> Fraction:
    """The decimal that the double's shortest form writes. Raises ValueError for NaN and infinities."""
    return Fraction(repr(value))


def up(value: Fraction) -> float:
    """The least double that writes `value` or more. Raises OverflowError beyond the doubles."""
    near = float(value)
    while written(near) < value:
        near = math.nextafter(near, math.inf)
    while written(below := math.nextafter(near, -math.inf)) >= value:
        near = below
    return near
