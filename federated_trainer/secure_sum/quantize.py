"""Real vectors as elements of the ring Z / 2^bits, with head room for the sum that is checked beforehand.

A coordinate x with |x| <= bound becomes round(x * 2^fraction_bits) mod 2^bits. The sum of `summands` such vectors, each
with at most `noise_bound` units of added noise, must fit the signed half of the ring, else it could wrap around without
a sign: `Quantizer` refuses such parameters when it is made (HeadRoom).
Not covered: a client that does not follow; it can add any ring element, and a masked sum cannot show whose it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from federated_trainer.errors import BadUpdate, HeadRoom

RING_BITS = (32, 64)
RingVector = npt.NDArray[np.uint32] | npt.NDArray[np.uint64]
FloatVector = npt.NDArray[np.float64]


def ring_dtype(bits: int) -> np.dtype[np.uint32] | np.dtype[np.uint64]:
    """The unsigned little-endian type whose wrap-around arithmetic is the ring's."""
    return np.dtype("<u4") if bits == 32 else np.dtype("<u8")


@dataclass(frozen=True, slots=True)
class Quantizer:
    """
    bound: largest absolute value of a coordinate. fraction_bits: 2^fraction_bits units are 1.0.
    summands: most vectors in one sum. noise_bound: most units that a client adds to a coordinate.

    Raises HeadRoom where summands * (bound * 2^fraction_bits + 1 + noise_bound) does not fit the signed ring.
    """

    ring_bits: int
    bound: float
    fraction_bits: int
    summands: int
    noise_bound: int = 0

    def __post_init__(self) -> None:
        if not (
            self.ring_bits in RING_BITS and self.bound > 0 and self.fraction_bits >= 0 and self.summands >= 1 and self.noise_bound >= 0
        ):
            raise HeadRoom("The quantiser needs a 32 or 64-bit ring, a positive bound, and non-negative bits, summands and noise.")
        # float64 carries 53 bits: beyond, the rounding below would not be to the nearest unit.
        largest = int(np.ceil(self.bound * 2.0**self.fraction_bits)) + 1
        if largest > 2**52:
            raise HeadRoom("The bound has more than 52 bits in ring units; take fewer fraction bits.")
        if self.summands * (largest + self.noise_bound) >= 2 ** (self.ring_bits - 1):
            raise HeadRoom(
                f"A sum of {self.summands} vectors of up to {largest + self.noise_bound} units does not fit {self.ring_bits} bits: "
                "take fewer fraction bits, a smaller bound, or the 64-bit ring."
            )

    def encode(self, vector: npt.NDArray[np.floating], noise: npt.NDArray[np.int64] | None = None) -> RingVector:
        """[length] real → [length] ring, rounded to the nearest unit. Raises BadUpdate where a value is not finite or over the bound."""
        values = np.asarray(vector, dtype=np.float64)
        if not np.all(np.isfinite(values)):
            raise BadUpdate("The update has values that are not finite; nothing was sent.")
        if values.size and float(np.max(np.abs(values))) > self.bound:
            raise BadUpdate(f"The update has a coordinate over the bound of {self.bound}; clip it, or agree on a larger bound.")
        units = np.rint(values * 2.0**self.fraction_bits).astype(np.int64)
        if noise is not None:
            if noise.shape != units.shape or (noise.size and int(np.max(np.abs(noise))) > self.noise_bound):
                raise BadUpdate("The noise has another shape than the update, or exceeds the head room kept for it.")
            units += noise
        # The conversion to unsigned truncates, which is reduction modulo 2^bits.
        return units.astype(np.dtype("<u4")) if self.ring_bits == 32 else units.astype(np.dtype("<u8"))

    def decode(self, total: RingVector) -> FloatVector:
        """[length] ring → [length] real: the signed value divided by 2^fraction_bits."""
        signed = total.view(np.dtype("<i4") if self.ring_bits == 32 else np.dtype("<i8"))
        return signed.astype(np.float64) / 2.0**self.fraction_bits
