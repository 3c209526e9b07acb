"""Random numbers for privacy, from AES-256-CTR keyed by the operating system.

Opacus's secure mode asks for a package that is not kept up (torchcsprng); torch's and numpy's generators can be predicted
from their output. Sampling, noise and shuffling of the trainer all come from here.

Not covered: floating-point noise is not real Gaussian noise. As in Opacus's secure mode, `gaussian` adds up four samples,
which makes the low-bit attack of Mironov 2012 infeasible in practice (Holohan and Braghin 2021) without being a proof;
`discrete_gaussian` draws exact noise. Box and Muller's transform of 64 bits ends at 9.4 standard deviations.
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_SUMMED_SAMPLES = 4


class SecureRandom:
    """A stream of random numbers. `seed` (32 bytes) fixes it for tests; without one it comes from os.urandom."""

    def __init__(self, seed: bytes | None = None) -> None:
        key = os.urandom(32) if seed is None else seed
        self._stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()

    def words(self, count: int) -> npt.NDArray[np.uint64]:
        """[count] uniform 64-bit words."""
        return np.frombuffer(self._stream.update(bytes(8 * count)), dtype=np.uint64)

    def bernoulli(self, probability: float, count: int) -> npt.NDArray[np.bool_]:
        """[count] independent coins, true with this probability up to 2^-53."""
        coins: npt.NDArray[np.bool_] = (self.words(count) >> np.uint64(11)) < np.uint64(round(probability * 2**53))
        return coins

    def below(self, bounds: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """Uniform integers in [0, bound), exactly (rejection); 1 <= bound < 2^63."""
        values = np.empty_like(bounds)
        todo = np.arange(bounds.size)
        limit = np.uint64(2**64 - 1) - np.uint64(2**64 - 1) % bounds
        while todo.size:
            drawn = self.words(todo.size)
            fits = drawn < limit[todo]
            values[todo[fits]] = drawn[fits] % bounds[todo[fits]]
            todo = todo[~fits]
        return values

    def permutation(self, count: int) -> list[int]:
        """A uniform order of range(count): by sorting random words (ties have chance under count² / 2^65)."""
        return [int(i) for i in np.argsort(self.words(count), kind="stable")]

    def gaussian(self, std: float, count: int) -> npt.NDArray[np.float64]:
        """[count] float64 normal samples with mean 0: each the scaled sum of four by Box and Muller's transform."""
        total: npt.NDArray[np.float64] = np.zeros(count)
        for _ in range(_SUMMED_SAMPLES):
            half = (count + 1) // 2
            # (word + 1) / 2^64 lies in (0, 1]: the logarithm is finite.
            uniform = (self.words(half).astype(np.float64) + 1.0) / 2.0**64
            angle = self.words(half).astype(np.float64) * (2.0 * np.pi / 2.0**64)
            radius = np.sqrt(-2.0 * np.log(uniform))
            total += np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
        total *= std / np.sqrt(_SUMMED_SAMPLES)
        return total
