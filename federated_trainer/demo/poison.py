"""A false update: what a client that wants to ruin the model sends, at the largest size that the ring takes.

The secure sum hides whose vector it is, so no one can refuse the vector; the gate sees what it did to the model.
"""

from __future__ import annotations

import numpy as np

from federated_trainer.contribution import Contribute, Contribution
from federated_trainer.dp.secure_random import SecureRandom
from federated_trainer.settings import InstitutionSettings
from federated_trainer.task import RoundTask

BAD_INSTITUTION = "law"


def poisoned_training() -> Contribute:
    """The honest contribution, except for one institution: ± half the ring's bound in every coordinate."""
    from federated_trainer.institution import contribute  # loads torch; only the stage that trains needs it

    def poisoned(task: RoundTask, own: InstitutionSettings, random: SecureRandom) -> Contribution:
        if own.name != BAD_INSTITUTION:
            return contribute(task, own, random)
        signs = np.where(random.bernoulli(0.5, task.weights.size), 1.0, -1.0)
        return Contribution(np.concatenate([signs * task.settings.secure_sum.bound / 2, [1.0, 0.0]]), None)

    return poisoned
