"""Whether a small secret count is zero, by a point function evaluated at one point.

The parties open c = count + r modulo 2^depth; the point function at r is 1 at c exactly when the count is zero.
It does NOT work for counts of 2^depth and more: the caller chooses the depth from the public number of keys.
"""

from __future__ import annotations

import numpy as np

from mpc_inference.native.core import BLOCK, U8, U32, U64, Core


def depth_for(largest: int) -> int:
    """Tree depth for counts of 0..largest."""
    return max(1, largest.bit_length())


def key_bytes(depth: int) -> int:
    """Bytes of one key."""
    return (depth + 1) * BLOCK


def keys(core: Core, depth: int, mask: U64, roots0: U8, roots1: U8) -> U8:
    """The dealer's keys (n, key_bytes) for masks (n,) below 2^depth."""
    beta = np.zeros((len(mask), 1, 2), np.uint64)
    beta[:, 0, 0] = 1
    return core.dpf_gen(depth, 1 << depth, 8, mask, roots0, roots1, beta.view(np.uint8).reshape(len(mask), 1, BLOCK))


def evaluate(core: Core, party: int, depth: int, opened: U32, roots: U8, key: U8) -> U64:
    """This party's share of 1 where the count is zero, else of 0."""
    return core.zero(party, depth, roots, key, opened)
