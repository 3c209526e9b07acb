"""A secret token as two short keys: a distributed point function that the caller makes and the parties expand.

Each key alone is pseudorandom and says nothing of the token; expanded, the two are shares modulo 2^64 of the vector that is 1 at the
token. Boyle, Gilboa, Ishai, "Function Secret Sharing: Improvements and Extensions", CCS 2016, figure 1; the same trees as core.c, in
Python, because a caller needs no compiler. It does NOT stop a caller from sending keys of another vector: that spoils the caller's own
answer only.
"""

from __future__ import annotations

import os
from functools import lru_cache

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mpc_inference.native.core import BLOCK, FIXED_KEYS, U8, U64, Core

_LEFT, _RIGHT, _PAYLOAD = range(3)
_MASK = (1 << 128) - 1


def depth_for(vocabulary: int) -> int:
    """Levels of the tree: a leaf holds two words."""
    return max(1, (vocabulary - 1).bit_length() - 1)


def key_bytes(vocabulary: int) -> int:
    """A root, a correction a level, a payload correction."""
    return (depth_for(vocabulary) + 2) * BLOCK


@lru_cache(maxsize=4)
def _aes(key: int) -> Cipher[modes.ECB]:
    return Cipher(algorithms.AES(FIXED_KEYS[BLOCK * key : BLOCK * (key + 1)]), modes.ECB())  # noqa: S305 - one block, a fixed public key


def _hash(key: int, seed: int) -> int:
    data = seed.to_bytes(BLOCK, "little")
    return seed ^ int.from_bytes(_aes(key).encryptor().update(data), "little")


def keys(token: int, vocabulary: int) -> tuple[bytes, bytes]:
    """The keys for party 0 and party 1. Bit 0 of a seed is its control bit, bit 1 is clear."""
    depth = depth_for(vocabulary)
    seeds = [int.from_bytes(os.urandom(BLOCK), "little") & ~3 for _ in "01"]
    roots = [s.to_bytes(BLOCK, "little") for s in seeds]
    seeds[1] |= 1
    body = b""
    for level in range(1, depth + 1):
        bit = token >> 1 + depth - level & 1
        children = [[_hash(k, s) & ~2 for k in (_LEFT, _RIGHT)] for s in seeds]
        lose = 1 - bit
        correction = (children[0][lose] ^ children[1][lose]) & ~3 & _MASK
        turn = [children[0][0] ^ children[1][0] ^ bit ^ 1, children[0][1] ^ children[1][1] ^ bit]
        turn = [t & 1 for t in turn]
        body += (correction | turn[0] | turn[1] << 1).to_bytes(BLOCK, "little")
        seeds = [children[p][bit] ^ ((correction | turn[bit]) if seeds[p] & 1 else 0) for p in (0, 1)]
    hashes = [_hash(_PAYLOAD, s).to_bytes(BLOCK, "little") for s in seeds]
    h0, h1 = (np.frombuffer(h, np.uint64) for h in hashes)
    payload = np.array([1 - (token & 1), token & 1], np.uint64) - h0 + h1
    body += (-payload if seeds[1] & 1 else payload).tobytes()
    return roots[0] + body, roots[1] + body


def expand(core: Core, party: int, vocabulary: int, key: U8) -> U64:
    """One party's share (vocabulary,) of the one-hot vector."""
    return core.onehot(party, depth_for(vocabulary), vocabulary, key[:BLOCK], np.ascontiguousarray(key[BLOCK:]))
