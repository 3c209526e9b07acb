"""Golden values of two accountants, and a ledger that pays before training and refuses what would overspend."""

from __future__ import annotations

from pathlib import Path

import pytest

from federated_trainer.dp.accounting import GaussianSteps, epsilon_pld, epsilon_rdp, noise_multiplier_for
from federated_trainer.dp.ledger import Ledger
from federated_trainer.errors import BadConfiguration, BudgetSpent


def test_golden_values() -> None:
    """q = .01, σ = 1, T = 1000, δ = 1e-5."""
    steps = [GaussianSteps(0.01, 1.0, 1000)]
    assert epsilon_pld(steps, 1e-5) == pytest.approx(1.828, abs=2e-3)
    assert epsilon_rdp(steps, 1e-5) == pytest.approx(2.101, abs=2e-2)


def test_full_batch_agrees_with_the_analytic_gaussian() -> None:
    """μ = √T/σ Gaussian DP (Balle and Wang 2018): T = 4, σ = 4, δ = 1e-5 gives ε = 1.9933."""
    from scipy.stats import norm

    mu = 0.5
    epsilon = epsilon_pld([GaussianSteps(1.0, 4.0, 4)], 1e-5)
    delta = norm.cdf(mu / 2 - epsilon / mu) - 2.718281828459045**epsilon * norm.cdf(-mu / 2 - epsilon / mu)
    assert delta == pytest.approx(1e-5, rel=2e-2)


def test_calibration_is_tight_from_above() -> None:
    sigma = noise_multiplier_for(8.0, 1e-5, 0.4, 8)
    assert 7.8 < epsilon_pld([GaussianSteps(0.4, sigma, 8)], 1e-5) <= 8.0


def test_ledger_adds_up_over_its_life_and_refuses_the_overspending_round(tmp_path: Path) -> None:
    steps = GaussianSteps(0.4, 1.0, 2)
    path = tmp_path / "ledger.jsonl"
    totals = [Ledger(path, 8.0, 1e-5).reserve(steps, f"round {n}") for n in range(3)]  # a new object each time: it is on disk
    assert totals == sorted(totals)
    assert Ledger(path, 8.0, 1e-5).account().epsilon == pytest.approx(totals[-1])
    before = path.read_bytes()
    with pytest.raises(BudgetSpent, match="does not start"):
        Ledger(path, totals[-1], 1e-5).reserve(steps, "one too many")
    assert path.read_bytes() == before, "a refused round is not written down"


def test_damaged_ledger_stops_training(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    Ledger(path, 8.0, 1e-5).reserve(GaussianSteps(0.1, 2.0, 1), "r")
    path.write_text(path.read_text()[:-9] + "\n")
    with pytest.raises(BadConfiguration, match="Line 1"):
        Ledger(path, 8.0, 1e-5).reserve(GaussianSteps(0.1, 2.0, 1), "r")


@pytest.mark.parametrize("bad", [(0.0, 1.0, 1), (1.1, 1.0, 1), (0.5, 0.0, 1), (0.5, 1.0, 0)])
def test_steps_that_mean_nothing(bad: tuple[float, float, int]) -> None:
    with pytest.raises(BadConfiguration):
        GaussianSteps(*bad)
