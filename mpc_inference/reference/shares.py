"""CrypTen's shares and the engine's are the same words: additive modulo 2^64, fixed point.

Only the encoders differ: the engine's rounds to nearest, CrypTen's truncates. CrypTen's decoder is not used: it divides negative words by
2^bits - 1, so that a value a few units above a negative integer comes out one too low (-9.99997 as -10.99989).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mpc_inference.native.core import U64
from mpc_inference.reference.library import crypten


def encode(values: NDArray[np.float64], fraction_bits: int) -> U64:
    """Fixed point, rounded to nearest."""
    return np.rint(values * 2.0**fraction_bits).astype(np.int64).view(np.uint64)


def to_crypten(share: U64, fraction_bits: int) -> Any:
    """An MPCTensor from this party's words; both parties call it."""
    tensor = torch.from_numpy(np.ascontiguousarray(share).view(np.int64).copy())
    return crypten().mpc.MPCTensor.from_shares(tensor, precision=fraction_bits)


def from_crypten(tensor: Any) -> tuple[U64, int]:
    """This party's words of an arithmetic MPCTensor, and their fraction bits."""
    bits: int = tensor.encoder._precision_bits
    return tensor.share.numpy().view(np.uint64).copy(), bits


def decode(tensor: Any) -> NDArray[np.float64]:
    """Open an arithmetic MPCTensor; both parties call it."""
    words: NDArray[np.int64] = tensor.reveal().numpy()
    return np.asarray(words / 2.0**tensor.encoder._precision_bits)
