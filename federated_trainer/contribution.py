"""What an institution gives to a round, and the type of the function that makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from federated_trainer.dp.secure_random import SecureRandom
from federated_trainer.settings import InstitutionSettings
from federated_trainer.task import RoundTask


@dataclass(frozen=True, slots=True)
class Contribution:
    """vector: [length + 2] float64: weight * delta, weight, weight * loss. epsilon: spent in total by this institution, or None."""

    vector: npt.NDArray[np.float64] = field(repr=False)
    epsilon: float | None


Contribute = Callable[[RoundTask, InstitutionSettings, SecureRandom], Contribution]
