"""Audits in one run (Steinke, Nasr and Jagielski 2023): many canaries, each in by a coin of its own, guessed from what is released.

From v right among r guesses, ε is at least the largest e for which P[Binomial(r, e^e / (1 + e^e)) >= v] stays under 1 − confidence
(theorem 3.1; the term of δ is added by its bound, 2 m δ). The bound exceeds a true claim with chance
1 %. It must lie under the claim, be no idle number, and lie over it where the noise is left out. Seeds are fixed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from federated_trainer.adapter import AdaptedModel
from federated_trainer.dp.accounting import GaussianSteps, epsilon_of_zcdp, epsilon_pld
from federated_trainer.dp.client_level import ClientLevel
from federated_trainer.dp.dp_sgd import train_privately
from federated_trainer.dp.secure_random import SecureRandom
from federated_trainer.examples import Row
from federated_trainer.local_train import row_losses
from federated_trainer.settings import AdapterSettings, LocalSettings, SubjectPrivacy

DELTA, CONFIDENCE = 1e-5, 0.99


def lower_bound(inside: np.ndarray, scores: np.ndarray, guesses: int) -> float:
    """ε from the `guesses` most and least likely canaries (half of them guessed in, half out)."""
    order = np.argsort(scores)
    half = guesses // 2
    right = int(inside[order[-half:]].sum() + (~inside[order[:half]]).sum())
    held = 0.0
    for epsilon in np.arange(0.0, 12.0, 0.02):
        p = 1 / (1 + np.exp(-epsilon))
        if binom.sf(right - 1, guesses, p) + 2 * len(inside) * DELTA > 1 - CONFIDENCE:
            break
        held = float(epsilon)
    return held


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> AdaptedModel:
    return AdaptedModel(tiny_base, AdapterSettings(rank=32, alpha=32, targets=("q_proj", "v_proj", "o_proj", "down_proj")))


def direction(model: AdaptedModel, row: Row) -> np.ndarray:
    """The unit vector of the step that this row alone would make."""
    model.module.zero_grad()
    row_losses(model, [row]).sum().backward()
    parameters = dict(model.module.named_parameters())
    step = -np.concatenate([parameters[name].grad.numpy().ravel() for name in model.layout.names]).astype(np.float64)
    return step / np.linalg.norm(step)


def audit_of_a_training(model: AdaptedModel, noise_multiplier: float, steps: int) -> float:
    """One DP-SGD training on 120 canaries (random rows), each in by a coin; the score is its part in the update."""
    canaries, clip = 120, 1e-3
    rng = np.random.default_rng(11)
    rows = [Row((5, *map(int, t)), (-100, *map(int, t))) for t in rng.integers(6, 56, (canaries, 6))]
    inside = rng.random(canaries) < 0.5
    start = model.vector()
    model.load_vector(start)
    own = np.stack([direction(model, row) for row in rows])
    privacy = SubjectPrivacy(noise_multiplier=noise_multiplier, clip_norm=clip, sampling_rate=1.0, expected_batch=1.0, steps=steps)
    chosen = [row for row, taken in zip(rows, inside, strict=True) if taken]
    released = train_privately(model, start, chosen, LocalSettings(learning_rate=1.0), privacy, SecureRandom(b"7" * 32)).astype(np.float64)
    shares, *_ = np.linalg.lstsq(own.T, released, rcond=None)  # how much of each canary's step explains the update
    return lower_bound(inside, shares, 80)


def test_dp_sgd_stays_under_its_claim(model: AdaptedModel) -> None:
    bound = audit_of_a_training(model, 1.0, 2)
    assert 0 < bound <= epsilon_pld([GaussianSteps(1.0, 1.0, 2)], DELTA)


def test_dp_sgd_with_its_noise_left_out_is_caught(model: AdaptedModel) -> None:
    assert audit_of_a_training(model, 1e-9, 2) > epsilon_pld([GaussianSteps(1.0, 8.0, 2)], DELTA), "claimed with a multiplier of 8"


def audit_of_a_round(claimed: ClientLevel, *, with_noise: bool) -> float:
    """One round of 120 honest clients and 200 canary clients with random directions, each of them in by a coin."""
    canaries = 200
    rng = np.random.default_rng(12)
    directions = rng.normal(size=(canaries, claimed.length))
    directions *= claimed.clip_norm / np.linalg.norm(directions, axis=1, keepdims=True)
    inside = rng.random(canaries) < 0.5
    honest = rng.normal(0, 0.1 / claimed.length**0.5, (120, claimed.length))
    updates = np.concatenate([honest, directions[inside]])
    total = np.zeros(claimed.length + 1, dtype=np.uint64)
    for number, update in enumerate(updates):
        seed = SecureRandom(number.to_bytes(32, "big"))
        total += claimed.encode(update, seed) if with_noise and number < claimed.honest_survivors else bare(claimed).encode(update, seed)
    released, _ = (
        bare(claimed).decode(total, len(updates), SecureRandom(b"u" * 32)) if not with_noise else claimed.decode(total, len(updates))
    )
    return lower_bound(inside, released @ directions.T, 100)


def bare(level: ClientLevel) -> ClientLevel:
    """The same with next to no noise: a client that leaves it out."""
    return ClientLevel(level.length, level.clients, level.honest_survivors, level.clip_norm, 1e-2, fraction_bits=level.fraction_bits)


CLAIM = ClientLevel(2000, 400, 100, 1.0, 3.0, fraction_bits=13)


def test_client_level_privacy_stays_under_its_claim() -> None:
    assert audit_of_a_round(CLAIM, with_noise=True) <= epsilon_of_zcdp(CLAIM.zcdp(), DELTA)


def test_client_level_noise_left_out_is_caught() -> None:
    assert audit_of_a_round(CLAIM, with_noise=False) > epsilon_of_zcdp(CLAIM.zcdp(), DELTA)
