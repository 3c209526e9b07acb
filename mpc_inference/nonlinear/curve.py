"""Reciprocal or inverse square root over thirty binades, in one round.

The parties open c = x + r modulo 2^36. The tree of an incremental point function at r is cut around c into nodes at most 1/32 as wide
as the x that they stand for; each level has its payload (1, ten bits of r below the node), so a chord a node suffices.
Relative error at most 2^-13.4 for the inverse square root and 2^-12 for the reciprocal (half the chord's, which is centred), for x >= 2^10.
Boneh et al., IEEE S&P 2021 (payloads at every level); the cut that depends on c is ours: any tiling of r's axis may, because c is public.
It does NOT answer x = 0, x above 63/64 of 2^36 or (to that precision) x < 2^10: a caller scales so that they cannot occur.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from mpc_inference.native.core import BLOCK, U8, U64, Core

BITS = 36
LEAF_BITS = 5
FIRST_LEVEL = 6
DEPTH = BITS - LEAF_BITS
WITHIN_BITS = 10
PAYLOADS = DEPTH - FIRST_LEVEL + 1
KEY_BYTES = (DEPTH + PAYLOADS) * BLOCK
Kind = Literal["reciprocal", "inverse_square_root"]


def keys(core: Core, mask: U64, roots0: U8, roots1: U8) -> U8:
    """The dealer's keys (n, KEY_BYTES) for masks (n,) below 2^BITS."""
    beta = np.zeros((len(mask), PAYLOADS, 2), np.uint64)
    beta[:, :, 0] = 1
    for i, level in enumerate(range(FIRST_LEVEL, DEPTH + 1)):
        width = BITS - level
        within = mask & np.uint64((1 << width) - 1)
        beta[:, i, 1] = within >> np.uint64(width - WITHIN_BITS) if width >= WITHIN_BITS else within << np.uint64(WITHIN_BITS - width)
    levels = ((1 << (DEPTH + 1)) - 1) & ~((1 << FIRST_LEVEL) - 1)
    return core.dpf_gen(
        DEPTH, levels, 8, mask >> np.uint64(LEAF_BITS), roots0, roots1, beta.view(np.uint8).reshape(len(mask), PAYLOADS, BLOCK)
    )


def evaluate(core: Core, party: int, kind: Kind, unit: float, shift: float, fraction_bits: int, opened: U64, roots: U8, key: U8) -> U64:
    """This party's share at `fraction_bits` of 1/(x unit), or of 1/sqrt(x unit + shift), for the integer x = opened - r."""
    number = 0 if kind == "reciprocal" else 1
    return core.curve(party, BITS, LEAF_BITS, FIRST_LEVEL, number, unit, shift, float(2**fraction_bits), roots, key, opened)
