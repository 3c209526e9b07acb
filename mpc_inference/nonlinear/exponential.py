"""exp of a number that is not positive, by its homomorphism under function secret sharing.

The parties open c = x + r modulo 2^20 (12 fraction bits). Since exp(c - r) = exp(c) exp(-r), a point function at r's segment of
width 2 whose payload is exp(-(r mod segment)) needs one public factor a segment, so the table is exact up to rounding:
relative error at most 2^-12 + 2^-23 / exp(x). Segments more than 22 below zero are answered with 0.
It does NOT detect x <= -254 or x > 2: such a value wraps.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mpc_inference.native.core import BLOCK, F64, U8, U32, U64, Core

BITS = 20
FRACTION_BITS = 12
SEGMENT_BITS = 13
PAYLOAD_FRACTION_BITS = 14
TABLE_FRACTION_BITS = 22
OUT_FRACTION_BITS = PAYLOAD_FRACTION_BITS + TABLE_FRACTION_BITS
DEPTH = BITS - SEGMENT_BITS - 1
KEY_BYTES = (DEPTH + 1) * BLOCK
SPAN = 13


@lru_cache(maxsize=1)
def tables() -> tuple[F64, F64]:
    """exp of segment distance 1, 0, -1, ... (scaled), and exp of c's low part."""
    width = (1 << SEGMENT_BITS) / (1 << FRACTION_BITS)
    high = np.exp((1 - np.arange(SPAN)) * width) * (1 << TABLE_FRACTION_BITS)
    return high, np.exp(np.arange(1 << SEGMENT_BITS) / (1 << FRACTION_BITS))


def keys(core: Core, mask: U64, roots0: U8, roots1: U8) -> U8:
    """The dealer's keys (n, KEY_BYTES) for masks (n,) below 2^BITS."""
    position = mask >> np.uint64(SEGMENT_BITS)
    low = (mask & np.uint64((1 << SEGMENT_BITS) - 1)).astype(np.float64)
    beta = np.zeros((len(mask), 1, 2), np.uint64)
    payload = np.rint(np.exp(-low / (1 << FRACTION_BITS)) * (1 << PAYLOAD_FRACTION_BITS)).astype(np.uint64)
    beta[np.arange(len(mask)), 0, (position & np.uint64(1)).astype(np.intp)] = payload
    return core.dpf_gen(DEPTH, 1 << DEPTH, 8, position >> np.uint64(1), roots0, roots1, beta.view(np.uint8).reshape(len(mask), 1, BLOCK))


def evaluate(core: Core, party: int, opened: U32, roots: U8, key: U8) -> U64:
    """This party's share, modulo 2^64 at 36 fraction bits, of exp(opened - r)."""
    high, low = tables()
    return core.exp(party, BITS, SEGMENT_BITS, roots, key, opened, high, low)
