"""An exported version answers as its adapter does, and nothing is written over or from an untrusted version."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from federated_trainer.adapter import AdaptedModel
from federated_trainer.coordinator import RegistryPublisher, open_registry
from federated_trainer.dp.client_budget import ClientBudget
from federated_trainer.errors import BadConfiguration, NotTrusted
from federated_trainer.export import export_version
from federated_trainer.roster import make_identity, read_private_key
from federated_trainer.round import Judgement, RoundUpdate
from federated_trainer.settings import AdapterSettings, FederationSettings
from federated_trainer.task import make_task

TOKENS = torch.tensor([[6, 9, 12, 30, 7]])


@pytest.fixture
def published(tmp_path: Path, tiny_base: Path) -> Callable[[str], tuple[FederationSettings, Any]]:
    def publish(kind: str) -> tuple[FederationSettings, Any]:
        """One version of random weights, by the coordinator's own publisher; and what the trained model says of TOKENS."""
        make_identity(tmp_path / "signing.key")
        paths = dict.fromkeys(("data_dir", "roster", "held_out"), tmp_path)
        fields = {"base_model": tiny_base, "signing_key": tmp_path / "signing.key", "registry": f"file://{tmp_path}/registry"}
        settings = FederationSettings.model_validate(paths | fields | {"adapter": AdapterSettings(kind=kind, rank=2)})
        model = AdaptedModel(tiny_base, settings.adapter)
        weights = model.vector() + np.random.default_rng(3).normal(0, 0.05, model.layout.length).astype(np.float32)
        task = make_task(settings, 1, model.base_digest, model.layout.digest(), weights)
        key, budget = read_private_key(tmp_path / "signing.key"), ClientBudget(tmp_path / "ledger", None)
        update = RoundUpdate(weights.astype(np.float64), 3, None, {}, {})
        assert (
            RegistryPublisher(open_registry(settings), model, settings, key, budget).publish(weights, update, Judgement({}, ()), task) == 0
        )
        with torch.no_grad():
            return settings, model.module(input_ids=TOKENS).logits

    return publish


@pytest.mark.parametrize("kind", ["ffa_lora", "full"])
def test_the_merged_model_says_what_the_trained_one_says(
    published: Callable[[str], tuple[FederationSettings, Any]], tmp_path: Path, kind: str
) -> None:
    settings, expected = published(kind)
    export_version(settings, 0, tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", local_files_only=True)
    with torch.no_grad():
        torch.testing.assert_close(merged(input_ids=TOKENS).logits, expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(BadConfiguration, match="exists already"):
        export_version(settings, 0, tmp_path / "merged")


def test_an_altered_version_is_not_exported(published: Callable[[str], tuple[FederationSettings, Any]], tmp_path: Path) -> None:
    settings, _ = published("ffa_lora")
    file = tmp_path / "registry" / "versions" / "r0000" / "trained.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(NotTrusted):
        export_version(settings, 0, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
