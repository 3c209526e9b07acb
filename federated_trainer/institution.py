"""One institution's part of a round: check the task against its own floors, pay from its ledger, train, encode.

This is the only module that reads the institution's data. What leaves it is the encoded vector (masked by the caller).
"""

from __future__ import annotations

import numpy as np
import torch

from federated_trainer.adapter import AdaptedModel
from federated_trainer.contribution import Contribution
from federated_trainer.dp.accounting import GaussianSteps
from federated_trainer.dp.dp_sgd import check_can_clip, train_privately
from federated_trainer.dp.ledger import Ledger
from federated_trainer.dp.secure_random import SecureRandom
from federated_trainer.errors import BadConfiguration, BadUpdate
from federated_trainer.examples import read_examples, rows_by_example, rows_by_subject
from federated_trainer.local_train import train_locally
from federated_trainer.settings import InstitutionSettings
from federated_trainer.task import RoundTask


def contribute(task: RoundTask, own: InstitutionSettings, random: SecureRandom) -> Contribution:
    """Train on the institution's data and return its contribution.

    Raises BadConfiguration (floors, another base model), BadUpdate (another adapter shape, weights not finite), BadDataset,
    BudgetSpent (before anything is trained).
    """
    torch.set_num_threads(own.threads)
    task.check_floors(own)
    settings = task.settings
    model = AdaptedModel(own.base_model, settings.adapter)
    if model.base_digest != settings.base_digest:
        raise BadConfiguration(
            f"{own.name} has another base model than the federation; install the one with the digest that its manifest names."
        )
    if model.layout.digest() != settings.layout_digest:
        raise BadUpdate(f"{own.name}'s adapter has another shape than the federation's; use the same version of the trainer.")
    examples = read_examples(own.data)
    if settings.privacy is None:
        rows = rows_by_example(examples, model.tokenizer, settings.local.max_tokens)
        update = train_locally(model, task.weights, rows, settings.local, random)
        weight = min(update.rows, settings.weight_cap) / settings.weight_cap
        tail = np.array([weight, weight * update.mean_loss])
        return Contribution(np.concatenate([weight * update.delta.astype(np.float64), tail]), None)
    check_can_clip(model)
    privacy = settings.privacy
    steps = GaussianSteps(privacy.sampling_rate, privacy.noise_multiplier, privacy.steps)
    epsilon = Ledger(own.ledger, own.max_epsilon, own.delta).reserve(steps, f"{settings.federation} round {settings.round_number}")
    rows = rows_by_subject(examples, model.tokenizer, settings.local.max_tokens, privacy.examples_per_subject)
    delta = train_privately(model, task.weights, rows, settings.local, privacy, random)
    # Weights are uniform: the number of rows is private. The loss is not released.
    return Contribution(np.concatenate([delta.astype(np.float64), [1.0, 0.0]]), epsilon)
