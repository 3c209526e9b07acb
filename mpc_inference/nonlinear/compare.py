"""The larger of two secret numbers in one round, with the bit that says which.

For z = u - v the parties open c = z + r modulo 2^19. z is negative exactly when top(c) xor top(r) xor [low(c) < low(r)] (Boyle et al.,
"Function Secret Sharing for Mixed-Mode and Fixed-Point Secure Computation", EUROCRYPT 2021, section 4.1). A comparison tree at low(r) whose
payload is (s, s r) with s = 1 - 2 top(r) gives shares of that bit and of the bit times r, so the chosen value needs no second round.
It does NOT detect |u - v| >= 2^18: such a pair is compared wrongly.
"""

from __future__ import annotations

import numpy as np

from mpc_inference.native.core import BLOCK, U8, U32, U64, Core

BITS = 19
FRACTION_BITS = 10
DEPTH = BITS - 1
TREE_BYTES = DEPTH * BLOCK
WORDS = 2 * DEPTH
_LOW = np.uint32((1 << BITS) - 1)


def keys(core: Core, mask: U64, roots0: U8, roots1: U8) -> tuple[U8, U32, U32]:
    """The dealer's keys for masks (n,) below 2^BITS: trees (n, TREE_BYTES) and payloads (n, WORDS), the same for both parties;
    and the words (2, n) to share beside them: top(r) and top(r) r."""
    low, top = mask & np.uint64((1 << DEPTH) - 1), (mask >> np.uint64(DEPTH)).astype(np.uint32)
    sign = np.uint32(1) - np.uint32(2) * top
    beta = np.zeros((len(mask), DEPTH, 4), np.uint32)
    beta[:, :, 0], beta[:, :, 1] = sign[:, None], (sign * mask.astype(np.uint32))[:, None]
    made = core.dpf_gen(DEPTH, ((1 << DEPTH) - 1) << 1, 4, low, roots0, roots1, beta.view(np.uint8).reshape(len(mask), DEPTH, BLOCK))
    made = made.reshape(len(mask), 2, DEPTH, BLOCK)
    payload = np.ascontiguousarray(made[:, 1, :, :8]).view(np.uint32).reshape(len(mask), WORDS)  # the other half carries nothing
    return np.ascontiguousarray(made[:, 0]).reshape(len(mask), TREE_BYTES), payload, np.stack([top, top * mask.astype(np.uint32)])


def evaluate(core: Core, party: int, opened: U32, mask: U32, roots: U8, tree: U8, payload: U32, beside: U32, v: U32) -> tuple[U32, U32]:
    """Own shares, modulo 2^32, of the bit u >= v, and modulo 2^BITS of the larger. mask, beside (2, n) and v (n,) are own shares."""
    got = core.less(party, DEPTH, roots, tree, payload, opened & np.uint32((1 << DEPTH) - 1))
    negative, times_mask = got[:, 0] + beside[0], got[:, 1] + beside[1]
    high = (opened >> np.uint32(DEPTH)).astype(bool)
    one = np.uint32(1 - party)
    bit = np.where(high, negative, one - negative)
    bit_mask = np.where(high, times_mask, mask - times_mask)
    return bit, (v + opened * bit - bit_mask) & _LOW
