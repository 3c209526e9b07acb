"""Root-mean-square normalisation on shares, without gain: four openings."""

from __future__ import annotations

import numpy as np

from mpc_inference.llama import scales
from mpc_inference.llama.arithmetic import Arithmetic, low
from mpc_inference.llama.shape import LlamaShape
from mpc_inference.llama.supply import Supply
from mpc_inference.native.core import U64
from mpc_inference.nonlinear import curve


def norm(arithmetic: Arithmetic, shape: LlamaShape, x: U64, have: Supply, n: str, bits: int) -> U64:
    """x / sqrt(mean(x^2) + epsilon) (rows, hidden) modulo 2^64 at scales.HIDDEN; x is squared at `bits` fraction bits.

    n names the items ("1", "2" in a layer, "3" before the head).
    """
    ring, first = 64 - scales.RESIDUAL + bits, arithmetic.first
    a, b = have.masks("residual" + n), have.masks("inverse" + n)
    (c,) = arithmetic.open(("residual", arithmetic.shift(x, scales.RESIDUAL - bits) + a, ring))
    square = have.shareds("residual_square" + n)[:, 0] - np.uint64(2) * (c * a).sum(-1)
    if first:
        square = square + (c * c).sum(-1)
    drop = ring - curve.BITS
    (opened,) = arithmetic.open(("mean square", arithmetic.shift(square & low(ring), drop) + have.masks("square" + n)[:, 0], curve.BITS))
    inverse = curve.evaluate(
        arithmetic.core,
        arithmetic.party,
        "inverse_square_root",
        2.0 ** (drop - 2 * bits) / shape.hidden,
        shape.rms_epsilon,
        scales.INVERSE_OUT,
        opened,
        have.roots("square_root" + n),
        have.keys("square_key" + n),
    )
    (i,) = arithmetic.open(("inverse root", arithmetic.shift(inverse, scales.INVERSE_OUT - scales.INVERSE)[:, None] + b, scales.NORM_RING))
    h = have.shareds("residual_inverse" + n) - i * a - c * b
    if first:
        h = h + c * i
    h = arithmetic.shift(h & low(min(ring, scales.NORM_RING)), bits + scales.INVERSE - scales.HIDDEN)
    return arithmetic.lift(
        "hidden", h, have.masks("hidden" + n, scales.HIDDEN_LIFT), have.shareds("hidden_wrap" + n, 1), scales.HIDDEN_LIFT
    )
