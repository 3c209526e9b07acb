"""SiLU by a spline under function secret sharing.

The parties open c = x + r modulo 2^20 (x at 12 fraction bits, |x| < 120). A point function at r's segment with payload
(1, r mod segment) turns the public chords of SiLU on |x| < 10 into shares of the answer; a payload at a coarse tree level
does the same for the line y = x above.
Error: at most 1.3e-4 in (-10, 10) (centred chord of d = 1/16: f''/16 d^2, f'' <= 1/2), 4.6e-4 beyond, plus
the rounding of x. Boyle et al., EUROCRYPT 2021, section 4 (splines); the domain is walked only where the table is not zero.
It does NOT detect |x| >= 120: such a value wraps.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mpc_inference.native.core import BLOCK, U8, U32, U64, Core

BITS = 20
FRACTION_BITS = 12
SEGMENT_BITS = 8
HALF = 160  # segments on either side of zero: 10.0
COARSE = 5  # tree level of the nodes that cover the line y = x
UP = 10
OUT_FRACTION_BITS = FRACTION_BITS + UP
DEPTH = BITS - SEGMENT_BITS - 2
KEY_BYTES = (DEPTH + 3) * BLOCK


@lru_cache(maxsize=1)
def table() -> U32:
    """Chords: (c mod segment, HALF - segment distance, (value, minus slope)), both modulo 2^32, value at scale 2^22."""
    low = np.arange(1 << SEGMENT_BITS)[:, None]
    top = (low + (np.arange(-HALF, HALF + 1)[None] << SEGMENT_BITS)).astype(np.float64) / (1 << FRACTION_BITS)
    width = (1 << SEGMENT_BITS) / (1 << FRACTION_BITS)

    def silu(x: np.ndarray) -> np.ndarray:
        return np.asarray(x / (1 + np.exp(-x)))

    at_top, at_low = silu(top), silu(top - width)
    centred = at_top + (silu(top - width / 2) - (at_top + at_low) / 2) / 2  # halves the chord's one-sided error
    slope = (at_top - at_low) / (1 << SEGMENT_BITS)
    ints = np.stack([centred, -slope], -1)[:, ::-1] * (1 << OUT_FRACTION_BITS)
    return np.ascontiguousarray(np.rint(ints).astype(np.int64).astype(np.uint64).astype(np.uint32))


def keys(core: Core, mask: U64, roots0: U8, roots1: U8) -> U8:
    """The dealer's keys (n, KEY_BYTES) for masks (n,) below 2^BITS."""
    position = mask >> np.uint64(SEGMENT_BITS)
    beta = np.zeros((len(mask), 3, 4), np.uint32)
    beta[:, 0, 0], beta[:, 0, 1] = 1, mask
    word = 2 * (position & np.uint64(3)).astype(np.intp)
    at, leaf = np.arange(len(mask)), beta[:, 1:].reshape(len(mask), 8)
    leaf[at, word], leaf[at, word + 1] = 1, mask & np.uint64((1 << SEGMENT_BITS) - 1)
    beta[:, 1:] = leaf.reshape(len(mask), 2, 4)
    levels = 1 << COARSE | 1 << DEPTH
    return core.dpf_gen(
        DEPTH, levels, 4, position >> np.uint64(2), roots0, roots1, beta.view(np.uint8).reshape(len(mask), 3, BLOCK), wide=True
    )


def evaluate(core: Core, party: int, opened: U32, roots: U8, key: U8) -> U32:
    """This party's share, modulo 2^32 at 22 fraction bits, of silu(opened - r)."""
    return core.silu(party, BITS, SEGMENT_BITS, COARSE, HALF, UP, roots, key, opened, table())
