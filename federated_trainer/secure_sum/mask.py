"""Masks: a 32-byte seed stretched by AES-256-CTR into a vector of the ring, added to or taken from an input.

The pairwise mask of two clients is added by the one with the lower identifier and taken by the other, so that it cancels
in the sum. A seed belongs to one session and one pair (or one client), so the counter starts at zero.
"""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from federated_trainer.secure_sum.quantize import RingVector, ring_dtype

_CHUNK_BYTES = 1 << 20  # fits the second-level cache: the stream is added while it is still there
_ZEROS = bytes(_CHUNK_BYTES)


def apply_mask(total: RingVector, seed: bytes, *, subtract: bool, ring_bits: int) -> None:
    """total ← total ± PRG(seed), in place, in the ring."""
    stream = Cipher(algorithms.AES256(seed), modes.CTR(bytes(16))).encryptor()
    dtype = ring_dtype(ring_bits)
    step = _CHUNK_BYTES // dtype.itemsize
    for start in range(0, total.size, step):
        part = total[start : start + step]
        block = np.frombuffer(stream.update(_ZEROS[: part.size * dtype.itemsize]), dtype=dtype)
        (np.subtract if subtract else np.add)(part, block, out=part)


def pairwise_mask(total: RingVector, seed: bytes, own: int, other: int, ring_bits: int) -> None:
    """The mask that `own` applies against `other`: plus where own < other, else minus."""
    apply_mask(total, seed, subtract=own > other, ring_bits=ring_bits)
