"""The federation's own ledger of client-level privacy: paid before the round, adapted clips kept, overspending refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from federated_trainer.dp.client_budget import ClientBudget
from federated_trainer.errors import BadConfiguration, BudgetSpent
from federated_trainer.settings import ClientPrivacy

PRIVACY = ClientPrivacy(clients=120, honest_survivors=100, noise_multiplier=2.0, bit_noise=5.0, max_epsilon=4.0)


def test_it_adds_up_over_restarts_and_refuses_the_overspending_round(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    totals = [ClientBudget(path, PRIVACY).reserve(0.125, f"round {n}") for n in range(2)]
    assert 0 < totals[0] < totals[1] < 4.0
    assert ClientBudget(path, PRIVACY).epsilon() == totals[1]
    before = path.read_bytes()
    with pytest.raises(BudgetSpent, match="does not start"):
        ClientBudget(path, PRIVACY).reserve(1.0, "one too many")
    assert path.read_bytes() == before


def test_the_adapted_clip_is_that_of_the_next_round(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    assert ClientBudget(path, PRIVACY).of_this_round() == PRIVACY
    ClientBudget(path, PRIVACY).adapt(0.7)
    changed = ClientBudget(path, PRIVACY).of_this_round()
    assert changed is not None
    assert changed.clip_norm == 0.7
    fixed = PRIVACY.model_copy(update={"bit_noise": 0.0})
    ClientBudget(tmp_path / "other.jsonl", fixed).adapt(0.7)
    assert not (tmp_path / "other.jsonl").exists()


def test_without_client_level_privacy_nothing_is_kept(tmp_path: Path) -> None:
    budget = ClientBudget(tmp_path / "ledger.jsonl", None)
    assert (budget.epsilon(), budget.of_this_round()) == (None, None)


def test_a_damaged_ledger_stops_rounds(tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").write_text("{")
    with pytest.raises(BadConfiguration, match="damaged"):
        ClientBudget(tmp_path / "ledger.jsonl", PRIVACY).reserve(0.1, "r")
