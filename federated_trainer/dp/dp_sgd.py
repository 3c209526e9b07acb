"""DP-SGD inside one client: every step's sum of clipped per-subject gradients gets Gaussian noise before it is used.

Abadi et al. 2016, algorithm 1. Unit: the data subject, all of whose examples are one row. Per-row norms come from
Opacus's ghost clipping (Li et al. 2021): one backward pass for the norms, a second one on the losses weighted by the
clipping factors, no per-row gradient in memory. Rows are sampled by Poisson sampling; sampling and noise come from
`SecureRandom`. The sum is divided by a public constant. Returned weights are a post-processing of the noised sums; the
loss and the batch sizes are not released.
Not covered: the ledger (`ledger.py`, the caller's duty before it trains), and timing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from opacus.grad_sample import GradSampleModuleFastGradientClipping

from federated_trainer.adapter import AdaptedModel
from federated_trainer.dp.secure_random import SecureRandom
from federated_trainer.errors import BadConfiguration, BadUpdate
from federated_trainer.examples import Row
from federated_trainer.local_train import optimizer_for, row_losses
from federated_trainer.settings import LocalSettings, SubjectPrivacy
from federated_trainer.weights import Vector, check_vector

_ROWS_AT_ONCE = 8  # bounds memory; the sum over a sample does not depend on it


def check_can_clip(model: AdaptedModel) -> None:
    """Raises BadConfiguration where Opacus can't clip this model's gradients; to be called before the ledger is charged."""
    if model.settings.kind == "full" and model.module.config.tie_word_embeddings:
        raise BadConfiguration("DP-SGD can't clip a tensor that is used twice (tied embeddings); train an adapter: kind = 'ffa_lora'.")


def train_privately(
    model: AdaptedModel, start: Vector, rows: Sequence[Row], local: LocalSettings, privacy: SubjectPrivacy, random: SecureRandom
) -> Vector:
    """[length] float32: trained minus start weights after `privacy.steps` noisy steps. Raises BadUpdate (weights not finite)."""
    model.load_vector(start)
    parameters = [p for p in model.module.parameters() if p.requires_grad]
    frozen = {name: p.detach().clone() for name, p in model.module.named_parameters() if not p.requires_grad and ".lora_" in name}
    optimizer = optimizer_for(parameters, local)
    wrapped: Any = GradSampleModuleFastGradientClipping(
        model.module, max_grad_norm=privacy.clip_norm, use_ghost_clipping=True, strict=False
    )
    wrapped.train()
    try:
        for _ in range(privacy.steps):
            sampled = random.bernoulli(privacy.sampling_rate, len(rows))
            chosen = [row for row, taken in zip(rows, sampled, strict=True) if taken]
            optimizer.zero_grad()
            sums = clipped_sum(wrapped, model, chosen, privacy.clip_norm, parameters)
            for parameter, total in zip(parameters, sums, strict=True):
                std = privacy.noise_multiplier * privacy.clip_norm
                noise = torch.from_numpy(random.gaussian(std, parameter.numel())).reshape(parameter.shape)
                parameter.grad = ((total.double() + noise) / privacy.expected_batch).float()
            optimizer.step()
    finally:
        wrapped.remove_hooks()
        model.module.eval()
    if any(not torch.equal(p, frozen[name]) for name, p in model.module.named_parameters() if name in frozen):
        raise BadUpdate("A frozen adapter weight changed during private training; the update was thrown away.")
    delta = model.vector() - start
    check_vector(delta, model.layout.length)
    return delta


def clipped_sum(
    wrapped: Any, model: AdaptedModel, rows: Sequence[Row], clip_norm: float, parameters: list[torch.nn.Parameter]
) -> list[torch.Tensor]:
    """Σ over rows of gradient * min(1, clip_norm / ‖gradient‖), one tensor a parameter: sensitivity `clip_norm` in one row."""
    sums = [torch.zeros_like(p) for p in parameters]
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        wrapped.enable_hooks()
        losses = row_losses(model, rows[begin : begin + _ROWS_AT_ONCE])
        # Opacus scales by the batch where the reduction is a mean, as it is declared here.
        torch.autograd.backward(losses.mean(), retain_graph=True)
        factors = wrapped.get_clipping_coef().detach()
        for p in parameters:
            p.grad = None
        wrapped.disable_hooks()
        torch.autograd.backward((factors * losses).sum())
        for total, p in zip(sums, parameters, strict=True):
            if p.grad is None:
                raise BadUpdate("A trainable tensor took no part in the loss; its gradient can't be clipped.")
            total += p.grad
            p.grad = None
        wrapped.enable_hooks()
    return sums
