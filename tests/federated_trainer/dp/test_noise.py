"""The samplers have the distributions that the proofs assume. Seeds are fixed; each bound fails one seed in about 10,000."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from federated_trainer.dp.discrete_gaussian import MAX_VARIANCE, discrete_gaussian
from federated_trainer.dp.secure_random import SecureRandom


def seeded(name: str) -> SecureRandom:
    return SecureRandom(name.encode().ljust(32, b"."))


@pytest.mark.parametrize("variance", [1, 7, 100, 4096])
def test_discrete_gaussian_by_chi_square(variance: int) -> None:
    n = 200_000
    samples = discrete_gaussian(variance, n, seeded(f"dg{variance}"))
    reach = int(4 * variance**0.5)
    support = np.arange(-reach, reach + 1)
    weights = np.exp(-(np.arange(-20 * reach, 20 * reach + 1.0) ** 2) / (2 * variance))
    probability = np.exp(-(support.astype(float) ** 2) / (2 * variance)) / weights.sum()
    counts = np.array([np.sum(samples == x) for x in support])
    bins = np.array_split(np.arange(len(support)), min(len(support), 40))
    observed = np.array([counts[b].sum() for b in bins] + [n - counts.sum()])
    expected = np.array([probability[b].sum() * n for b in bins] + [n * (1 - probability.sum())])
    kept = expected > 5
    assert stats.chisquare(observed[kept], expected[kept] * observed[kept].sum() / expected[kept].sum()).pvalue > 1e-4


def test_discrete_gaussian_at_its_largest_variance() -> None:
    samples = discrete_gaussian(MAX_VARIANCE, 50_000, seeded("large"))
    assert abs(samples.mean()) < 3.9 * 4096 / 50_000**0.5
    assert abs(samples.var() / MAX_VARIANCE - 1) < 3.9 * (2 / 50_000) ** 0.5


@pytest.mark.parametrize("variance", [0, MAX_VARIANCE + 1])
def test_variance_out_of_range(variance: int) -> None:
    with pytest.raises(ValueError, match="variance"):
        discrete_gaussian(variance, 1, seeded("x"))


def test_gaussian_by_kolmogorov_and_smirnov() -> None:
    samples = seeded("gauss").gaussian(2.5, 100_001)
    assert samples.shape == (100_001,)
    assert stats.kstest(samples / 2.5, "norm").pvalue > 1e-4


def test_below_is_uniform_and_bernoulli_has_its_rate() -> None:
    drawn = seeded("below").below(np.full(60_000, 6, dtype=np.uint64))
    assert stats.chisquare(np.bincount(drawn.astype(int), minlength=6)).pvalue > 1e-4
    coins = seeded("coin").bernoulli(0.3, 100_000)
    assert abs(coins.mean() - 0.3) < 3.9 * (0.21 / 100_000) ** 0.5


def test_streams_differ_without_a_seed() -> None:
    assert not np.array_equal(SecureRandom().words(4), SecureRandom().words(4))
