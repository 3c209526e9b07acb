"""How a contribution becomes a vector of the ring, and the sum of them a mean update: one codec on both sides of a secure sum.

Two codecs. `WeightedCodec`: weight * delta beside the weight itself, so that the mean is weighted by rows (uniform under the
data subject's privacy, whose noise is in the delta already). `ClientLevelCodec`: every client clipped, weighted alike, and
the sum noised for the client as unit. Which one a round uses follows from its task, on either side.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from federated_trainer.contribution import Contribution
from federated_trainer.dp.client_level import ClientLevel
from federated_trainer.dp.secure_random import SecureRandom
from federated_trainer.errors import BadUpdate
from federated_trainer.secure_sum.quantize import Quantizer, RingVector
from federated_trainer.task import EXTRA_COORDINATES, RoundTask


@dataclass(frozen=True, slots=True)
class Decoded:
    """mean: [length] float64. next_clip: of the next round, where clipping adapts."""

    mean: npt.NDArray[np.float64] = field(repr=False)
    mean_loss: float | None = None
    next_clip: float | None = None


class Codec(Protocol):
    def encode(self, contribution: Contribution, random: SecureRandom) -> RingVector:
        """Raises BadUpdate."""
        ...

    def decode(self, total: RingVector, survivors: int) -> Decoded:
        """Raises BadUpdate, TooFewClients."""
        ...


@dataclass(frozen=True, slots=True)
class WeightedCodec:
    quantizer: Quantizer
    shows_loss: bool

    def encode(self, contribution: Contribution, random: SecureRandom) -> RingVector:
        return self.quantizer.encode(contribution.vector)

    def decode(self, total: RingVector, survivors: int) -> Decoded:
        sums = self.quantizer.decode(total)
        weight, weighted_loss = float(sums[-2]), float(sums[-1])
        if not weight > 0:
            raise BadUpdate("The clients' weights add up to nothing; no client has examples.")
        return Decoded(sums[:-EXTRA_COORDINATES] / weight, weighted_loss / weight if self.shows_loss else None)


@dataclass(frozen=True, slots=True)
class ClientLevelCodec:
    level: ClientLevel

    def encode(self, contribution: Contribution, random: SecureRandom) -> RingVector:
        weight = contribution.vector[-2]
        return self.level.encode(contribution.vector[:-EXTRA_COORDINATES] / weight, random)

    def decode(self, total: RingVector, survivors: int) -> Decoded:
        mean, next_clip = self.level.decode(total, survivors)
        return Decoded(mean, None, next_clip)


def codec_of(task: RoundTask, clients: int) -> Codec:
    """Raises HeadRoom, BadConfiguration."""
    if task.settings.client_privacy is not None:
        return ClientLevelCodec(task.client_level())
    sums = task.settings.secure_sum
    quantizer = Quantizer(sums.ring_bits, sums.bound, sums.fraction_bits, summands=clients)
    return WeightedCodec(quantizer, shows_loss=task.settings.privacy is None)
