"""An audit of DP-SGD from outside: a canary subject's influence bounds epsilon from below, and the claim must lie above.

A distinguisher sees the released update with the canary subject in or out, over 2 × 150 runs of the real training step
(seeds fixed), and guesses "in" where the update leans towards the canary's gradient. Clopper and Pearson's 99.9 % bounds on
its rates give ε ≥ ln((TPR − δ) / FPR). The bound exceeds a true claim with chance under 0.2 %.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import beta

from federated_trainer.adapter import AdaptedModel
from federated_trainer.dp.accounting import GaussianSteps, epsilon_pld
from federated_trainer.dp.dp_sgd import train_privately
from federated_trainer.dp.secure_random import SecureRandom
from federated_trainer.examples import Row
from federated_trainer.settings import AdapterSettings, LocalSettings, SubjectPrivacy

RUNS, DELTA, CLIP = 150, 1e-5, 0.003  # every gradient here is longer than the clip: the canary has its full weight
COMMON = Row((5, 9, 10, 11, 12), (-100, 9, 10, 11, 12))
CANARY = Row((5, 40, 41, 42, 43), (-100, 40, 41, 42, 43))


def lower_bound(model: AdaptedModel, noise_multiplier: float) -> float:
    start = model.vector() + np.random.default_rng(2).normal(0, 0.3, model.layout.length).astype(np.float32)
    local = LocalSettings(learning_rate=1.0)

    def release(rows: list[Row], noise: float, seed: int) -> np.ndarray:
        privacy = SubjectPrivacy(noise_multiplier=noise, clip_norm=CLIP, sampling_rate=1.0, expected_batch=1.0, steps=1)
        return train_privately(model, start, rows, local, privacy, SecureRandom(seed.to_bytes(32, "big"))).astype(np.float64)

    # The noiseless influence of the canary, which the strongest adversary knows.
    influence = release([COMMON, CANARY], 1e-9, 1) - release([COMMON], 1e-9, 1)
    assert np.linalg.norm(influence) == pytest.approx(CLIP, rel=1e-2)
    centre = release([COMMON], 1e-9, 1) @ influence
    threshold = centre + 0.5 * influence @ influence + 0.5 * noise_multiplier * CLIP * np.linalg.norm(influence)
    inside = sum(release([COMMON, CANARY], noise_multiplier, 2 * run) @ influence > threshold for run in range(RUNS))
    outside = sum(release([COMMON], noise_multiplier, 2 * run + 1) @ influence > threshold for run in range(RUNS))
    tpr = float(beta.ppf(0.001, inside, RUNS - inside + 1)) if inside else 0.0
    fpr = float(beta.ppf(0.999, outside + 1, RUNS - outside)) if outside < RUNS else 1.0
    return math.log(max(tpr - DELTA, 1e-12) / fpr)


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> AdaptedModel:
    return AdaptedModel(tiny_base, AdapterSettings(rank=2, alpha=4))


def test_bound_stays_under_the_claim_and_is_not_idle(model: AdaptedModel) -> None:
    claim = epsilon_pld([GaussianSteps(1.0, 1.0, 1)], DELTA)
    bound = lower_bound(model, 1.0)
    assert 0 < bound <= claim


def test_noise_left_out_is_caught(model: AdaptedModel) -> None:
    claim = epsilon_pld([GaussianSteps(1.0, 2.0, 1)], DELTA)
    assert lower_bound(model, 1e-6) > claim
