"""A client's own training: from the global weights to its update, on its own rows.

FedAvg's ClientUpdate (McMahan et al. 2017, algorithm 1): E epochs over batches of B rows. With E = 1 and B = ∞ it is
FedSGD: one full-batch step. A proximal term (Li et al. 2020, FedProx) adds μ/2 ‖w − w_global‖² to the loss.
Not covered: privacy. The update is a function of the data; `dp.dp_sgd` trains with noise, `secure_sum` hides the update.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from federated_trainer.adapter import AdaptedModel
from federated_trainer.dp.secure_random import SecureRandom
from federated_trainer.errors import BadDataset
from federated_trainer.examples import IGNORED, Row, batch_of
from federated_trainer.settings import LocalSettings
from federated_trainer.weights import Vector, check_vector


@dataclass(frozen=True, slots=True)
class LocalUpdate:
    """delta: [length] float32, trained minus global weights. rows: how many rows it was trained on. mean_loss: before the last step."""

    delta: Vector = field(repr=False)
    rows: int
    mean_loss: float


def row_losses(model: AdaptedModel, rows: Sequence[Row]) -> torch.Tensor:
    """[rows] float32: each row's mean cross-entropy over its labelled tokens.

    The output head, a fifth of a small model's work, runs on the positions that have a label only.
    """
    ids, mask, labels = batch_of(rows, model.tokenizer.pad_token_id or 0)
    hidden = model.decoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state  # [rows, T, d]
    targets = labels[:, 1:]  # position t predicts token t + 1
    row, position = torch.nonzero(targets != IGNORED, as_tuple=True)
    logits = model.head(hidden[row, position])  # [labels, vocabulary]
    per_token = torch.nn.functional.cross_entropy(logits, targets[row, position], reduction="none")
    counted = torch.bincount(row, minlength=len(rows)).clamp(min=1)
    return torch.zeros(len(rows)).index_add(0, row, per_token) / counted


def train_locally(model: AdaptedModel, start: Vector, rows: Sequence[Row], settings: LocalSettings, random: SecureRandom) -> LocalUpdate:
    """Train from `start` and return the update. Raises BadDataset (no rows), BadUpdate (weights that are not finite)."""
    if not rows:
        raise BadDataset("There is no row to train on; a client with 0 examples takes no part in the round.")
    model.load_vector(start)
    parameters = [p for p in model.module.parameters() if p.requires_grad]
    anchor = [p.detach().clone() for p in parameters]
    optimizer = optimizer_for(parameters, settings)
    batch_rows = settings.batch_rows or len(rows)
    mean_loss = 0.0
    model.module.train()
    for _ in range(settings.epochs):
        order = random.permutation(len(rows))
        for begin in range(0, len(rows), batch_rows):
            batch = [rows[i] for i in order[begin : begin + batch_rows]]
            optimizer.zero_grad()
            loss = row_losses(model, batch).mean()
            mean_loss = float(loss.detach())
            if settings.proximal_mu:
                gaps = zip(parameters, anchor, strict=True)
                loss = loss + settings.proximal_mu / 2 * torch.stack([(p - a).square().sum() for p, a in gaps]).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    model.module.eval()
    delta = model.vector() - start
    check_vector(delta, model.layout.length)
    return LocalUpdate(delta, len(rows), mean_loss)


def optimizer_for(parameters: list[torch.nn.Parameter], settings: LocalSettings) -> torch.optim.Optimizer:
    """The local optimiser; its state lives for one round."""
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=settings.learning_rate)
    return torch.optim.SGD(parameters, lr=settings.learning_rate)
