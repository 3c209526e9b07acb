"""Client-level differential privacy for many clients: each clips its update, and a discrete Gaussian covers the sum.

The distributed discrete Gaussian of Kairouz, Liu and Steinke 2021 (theorem 5) inside the secure sum, with the adaptive
clipping of Andrew et al. 2021 (algorithm 1). One declared point of noise: `noise_at` the clients (distributed: each adds
its part before it masks) or at the server (central: the server adds all parts to the sum that it has opened).

Unit: one client with all its data. Neighbours: one client's vector replaced by zero. Adversary, distributed: who sees the sum,
the server included, and up to (survivors − honest_survivors) clients that tell it their noise. Central: who sees what the
server publishes; the server itself sees the sum without noise. No amplification by sampling is claimed.
Not for few clients: with fewer than 100, the noise would drown the update or epsilon would mean nothing, so it is refused;
`dp_sgd` (the data subject as unit) is for them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from federated_trainer.dp.discrete_gaussian import MAX_VARIANCE, discrete_gaussian
from federated_trainer.dp.secure_random import SecureRandom
from federated_trainer.errors import BadConfiguration, BadUpdate, HeadRoom, TooFewClients
from federated_trainer.secure_sum.quantize import RingVector
from federated_trainer.settings import FEWEST_CLIENTS

_BIT_UNITS = 1024  # one client's "my update was under the clip" in ring units
_NOISE_STDS = 12  # head room: a sample beyond has chance under 2^-100


@dataclass(frozen=True, slots=True)
class ClientLevel:
    """
    length: coordinates of the update. honest_survivors: the fewest honest clients in any sum; noise is calibrated to them.
    clip_norm: L2. noise_multiplier: std of the summed noise over the sensitivity. bit_noise: std of the noise on the count
    of unclipped clients (0: the clip is fixed), target_quantile and clip_learning_rate: γ and η_C of Andrew et al.
    noise_at: clients or server; the noise of the sum is the same.

    Raises BadConfiguration (too few clients, noise that the exact sampler can't draw), HeadRoom.
    """

    length: int
    clients: int
    honest_survivors: int
    clip_norm: float
    noise_multiplier: float
    fraction_bits: int = 16
    ring_bits: int = 64
    bit_noise: float = 0.0
    target_quantile: float = 0.5
    clip_learning_rate: float = 0.2
    noise_at: str = "clients"

    def __post_init__(self) -> None:
        if self.honest_survivors < FEWEST_CLIENTS or self.clients < self.honest_survivors:
            raise BadConfiguration(
                f"Client-level privacy needs at least {FEWEST_CLIENTS} honest clients in a sum: with {self.honest_survivors}, its noise "
                "destroys the update or its epsilon means nothing. Use subject-level DP-SGD ([privacy]) among few institutions."
            )
        if not (self.clip_norm > 0 and self.noise_multiplier > 0 and self.length >= 1 and self.bit_noise >= 0):
            raise BadConfiguration("Client-level privacy needs a positive clip, noise and length.")
        if self.noise_at not in ("clients", "server"):
            raise BadConfiguration("Noise is added at the clients or at the server.")
        if not 16 <= self.client_variance <= MAX_VARIANCE:
            raise BadConfiguration("A client's noise must lie between 4 and 4096 ring units; change fraction_bits.")
        largest = self.clip_norm * 2.0**self.fraction_bits + 1 + _NOISE_STDS * math.sqrt(self.client_variance)
        if self.clients * max(largest, _BIT_UNITS + _NOISE_STDS * math.sqrt(self.bit_variance)) >= 2.0 ** (self.ring_bits - 1):
            raise HeadRoom("The noisy sum does not fit the ring; take fewer fraction bits or the 64-bit ring.")

    @property
    def sensitivity_units(self) -> float:
        """L2 of one client's rounded vector: clip, plus half a unit a coordinate for the rounding to the nearest."""
        return self.clip_norm * 2.0**self.fraction_bits + math.sqrt(self.length) / 2

    @property
    def client_variance(self) -> int:
        """Of one client's noise, in squared units: honest_survivors of them add up to noise_multiplier * sensitivity."""
        return math.ceil((self.noise_multiplier * self.sensitivity_units) ** 2 / self.honest_survivors)

    @property
    def bit_variance(self) -> int:
        return math.ceil((self.bit_noise * _BIT_UNITS) ** 2 / self.honest_survivors) if self.bit_noise else 0

    def encode(self, update: npt.NDArray[np.floating], random: SecureRandom) -> RingVector:
        """[length + 1] ring: the clipped, rounded, noised update, and the noised bit. Raises BadUpdate."""
        values = np.asarray(update, dtype=np.float64)
        if values.shape != (self.length,) or not np.all(np.isfinite(values)):
            raise BadUpdate("The update has another length, or values that are not finite.")
        norm = float(np.linalg.norm(values))
        units = np.rint(values * (min(1.0, self.clip_norm / max(norm, 1e-300)) * 2.0**self.fraction_bits)).astype(np.int64)
        # A fixed clip releases nothing about norms.
        bit = np.array([_BIT_UNITS if self.bit_noise and norm <= self.clip_norm else 0], dtype=np.int64)
        both = np.concatenate([units, bit])
        if self.noise_at == "clients":
            both += self._part(random)
        return both.astype(np.dtype("<u4")) if self.ring_bits == 32 else both.astype(np.dtype("<u8"))

    def _part(self, random: SecureRandom) -> npt.NDArray[np.int64]:
        """[length + 1] int64: the noise of one of `honest_survivors` parts."""
        bit = discrete_gaussian(self.bit_variance, 1, random) if self.bit_noise else np.zeros(1, dtype=np.int64)
        return np.concatenate([discrete_gaussian(self.client_variance, self.length, random), bit])

    def decode(self, total: RingVector, survivors: int, random: SecureRandom | None = None) -> tuple[npt.NDArray[np.float64], float]:
        """(mean update over `clients`, a public constant; the clip of the next round). `random` is the server's own, for tests.

        Raises TooFewClients.
        """
        if survivors < self.honest_survivors:
            raise TooFewClients(
                f"{survivors} clients are in the sum; its noise is calibrated to {self.honest_survivors}. It is thrown away."
            )
        units = total.view(np.dtype("<i4") if self.ring_bits == 32 else np.dtype("<i8")).astype(np.int64)
        if self.noise_at == "server":
            random = SecureRandom() if random is None else random
            for _ in range(self.honest_survivors):
                units += self._part(random)
        signed = units.astype(np.float64)
        mean = signed[:-1] / 2.0**self.fraction_bits / self.clients
        if not self.bit_noise:
            return mean, self.clip_norm
        unclipped = min(max(float(signed[-1]) / _BIT_UNITS / survivors, 0.0), 1.0)
        return mean, self.clip_norm * math.exp(-self.clip_learning_rate * (unclipped - self.target_quantile))

    def zcdp(self) -> float:
        """ρ of one round. The sum of n discrete Gaussians is not quite one; τ bounds the gap (theorem 5)."""
        n, variance = self.honest_survivors, self.client_variance
        tau = 10 * sum(math.exp(-2 * math.pi**2 * variance * k / (k + 1)) for k in range(1, n))
        epsilon = self.sensitivity_units / math.sqrt(n * variance) + tau * math.sqrt(self.length)
        # The bit is in {0, 1} units of _BIT_UNITS; leaving one client out moves it by at most that.
        bit = _BIT_UNITS**2 / (2 * n * self.bit_variance) if self.bit_noise else 0.0
        return epsilon**2 / 2 + bit
