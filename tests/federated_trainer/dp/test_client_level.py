"""Client-level privacy: refused among few, right on average among many, and its clip follows the quantile."""

from __future__ import annotations

import numpy as np
import pytest

from federated_trainer.dp.accounting import epsilon_of_zcdp
from federated_trainer.dp.client_level import ClientLevel
from federated_trainer.dp.secure_random import SecureRandom
from federated_trainer.errors import BadConfiguration, BadUpdate, TooFewClients

N, LENGTH = 120, 400


def made(**changes: float | str) -> ClientLevel:
    fields: dict[str, float | str] = {
        "length": LENGTH, "clients": N, "honest_survivors": 100, "clip_norm": 1.0, "noise_multiplier": 1.0, "fraction_bits": 14
    }  # fmt: skip
    return ClientLevel(**(fields | changes))  # type: ignore[arg-type]


def total(level: ClientLevel, updates: np.ndarray) -> np.ndarray:
    return np.sum([level.encode(u, SecureRandom(bytes([i]) * 32)) for i, u in enumerate(updates)], axis=0, dtype=np.uint64)


def test_three_institutions_are_told_to_use_the_data_subject() -> None:
    with pytest.raises(BadConfiguration, match="at least 100"):
        made(clients=3, honest_survivors=3)


def test_mean_is_unbiased_with_the_declared_noise() -> None:
    """Residuals over 400 coordinates: the variance bound fails one seed in about 10,000."""
    level = made()
    updates = np.random.default_rng(0).normal(0, 0.5 / LENGTH**0.5, (N, LENGTH))
    mean, clip = level.decode(total(level, updates), N)
    residual = mean - updates.mean(axis=0)
    std = (N * level.client_variance) ** 0.5 / 2**14 / N
    assert abs(float(np.mean((residual / std) ** 2)) - 1) < 3.9 * (2 / LENGTH) ** 0.5
    assert clip == 1.0


def test_central_noise_is_the_servers_alone_and_as_large() -> None:
    """A client's own message is its clipped update, bare; the published mean has the declared noise (one seed in 10,000 fails)."""
    level = made(noise_at="server")
    updates = np.random.default_rng(1).normal(0, 0.5 / LENGTH**0.5, (N, LENGTH))
    bare = level.encode(updates[0], SecureRandom()).view(np.int64)[:-1] / 2**14
    np.testing.assert_allclose(bare, updates[0], atol=2.0**-15)
    mean, _ = level.decode(total(level, updates), N, SecureRandom(b"s" * 32))
    std = (100 * level.client_variance) ** 0.5 / 2**14 / N
    assert abs(float(np.mean(((mean - updates.mean(axis=0)) / std) ** 2)) - 1) < 3.9 * (2 / LENGTH) ** 0.5
    assert level.zcdp() == made().zcdp()
    with pytest.raises(BadConfiguration):
        made(noise_at="nowhere")


def test_one_client_is_clipped_however_large() -> None:
    level = made()
    units = level.encode(np.full(LENGTH, 1e9), SecureRandom(b"c" * 32)).view(np.int64)[:-1]
    noise = level.encode(np.zeros(LENGTH), SecureRandom(b"c" * 32)).view(np.int64)[:-1]
    assert np.linalg.norm(units - noise) <= level.sensitivity_units


@pytest.mark.parametrize(("norm", "direction"), [(5.0, 1), (0.01, -1)])
def test_adaptive_clip_moves_towards_the_quantile(norm: float, direction: int) -> None:
    level = made(bit_noise=5.0)
    updates = np.full((N, LENGTH), norm / LENGTH**0.5)
    _, clip = level.decode(total(level, updates), N)
    assert (clip - 1.0) * direction > 0


def test_too_few_survivors_throw_the_sum_away() -> None:
    level = made()
    with pytest.raises(TooFewClients):
        level.decode(np.zeros(LENGTH + 1, dtype=np.uint64), 99)


def test_epsilon_is_close_to_the_central_gaussian() -> None:
    """ρ = 1/(2 z²) of the continuous Gaussian; the ring and the rounding are within 0.1 % of it here."""
    level = made(fraction_bits=14)
    assert level.zcdp() == pytest.approx(0.5, rel=1e-3)
    assert epsilon_of_zcdp(2 * level.zcdp(), 1e-6) > epsilon_of_zcdp(level.zcdp(), 1e-6) > 0


def test_malformed_updates() -> None:
    with pytest.raises(BadUpdate):
        made().encode(np.full(LENGTH, np.nan), SecureRandom())
    with pytest.raises(BadUpdate):
        made().encode(np.zeros(3), SecureRandom())
