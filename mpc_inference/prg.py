"""AES-128 in counter mode as the pseudorandom generator of shares and masks (NIST SP 800-38A, section 6.5).

Seeds come from the operating system. The counter is (position, layer, block): two streams of one seed never overlap, because
each is far shorter than 2^64 blocks. A seed belongs to one session and one party; nothing here keeps a seed on disk.
"""

from __future__ import annotations

import os
import struct

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mpc_inference.native.core import U8, U64

SEED_BYTES = 16


def new_seed() -> bytes:
    """128 bits from the operating system."""
    return os.urandom(SEED_BYTES)


def stream(seed: bytes, position: int, layer: int, count: int) -> U8:
    """`count` pseudorandom bytes of the stream (position, layer), both below 2^32."""
    counter = struct.pack(">IIQ", position, layer, 0)
    out = np.empty(count + 15, np.uint8)  # update_into asks for one block of room
    Cipher(algorithms.AES(seed), modes.CTR(counter)).encryptor().update_into(bytes(count), out.data)
    return out[:count]


def uniform_words(*shape: int) -> U64:
    """Uniform words modulo 2^64 straight from a fresh seed: a client's shares."""
    size = int(np.prod(shape)) * 8
    return stream(new_seed(), 0, 0, size).view(np.uint64).reshape(shape)
