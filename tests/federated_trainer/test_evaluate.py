"""The gate refuses worse, leaking and broken candidates, each with its reason, and lets a better one pass."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from federated_trainer.adapter import AdaptedModel
from federated_trainer.dp.secure_random import SecureRandom
from federated_trainer.errors import BadDataset
from federated_trainer.evaluate import Canary, HeldOut, HeldOutGate, compare, exposure_bits, read_held_out
from federated_trainer.examples import Row, read_examples, rows_by_example
from federated_trainer.local_train import train_locally
from federated_trainer.settings import AdapterSettings, GateSettings, LocalSettings

LINES = [
    {
        "subject_id": f"s{i}",
        "domain": d,
        "messages": [{"role": "user", "content": f"w{i}"}, {"role": "assistant", "content": f"w{20 + i} w30"}],
    }
    for i in range(6)
    for d in ("a", "b")
]


@pytest.fixture
def held_out_file(tmp_path: Path) -> Path:
    path = tmp_path / "held_out.jsonl"
    path.write_text("\n".join(map(json.dumps, LINES)))
    return path


@pytest.fixture
def model(tiny_base: Path) -> AdaptedModel:
    return AdaptedModel(tiny_base, AdapterSettings(kind="full"))


def test_better_passes_and_worse_is_refused_with_reasons(model: AdaptedModel, held_out_file: Path) -> None:
    start = model.vector()
    gate = HeldOutGate(model, read_held_out(held_out_file, model, 64), GateSettings(), start)
    rows = rows_by_example(read_examples(held_out_file), model.tokenizer, 64)
    better = start + train_locally(model, start, rows, LocalSettings(epochs=5, learning_rate=0.3), SecureRandom(b"e" * 32)).delta
    served = dict(gate.served_measures)
    judged = gate.judge(better)
    assert judged.reasons == ()
    assert all(judged.measures[name] < 0.7 * served[name] for name in served if name.startswith("perplexity"))
    noise = np.random.default_rng(0).normal(0, 1, start.size).astype(np.float32)
    refused = gate.judge(better + noise)
    assert any("perplexity" in reason for reason in refused.reasons)
    assert gate.judge(better).reasons == (), "a refused candidate does not become the measure"


def test_every_limit_has_its_sentence() -> None:
    served = {"perplexity": 10.0, "perplexity.law": 10.0, "accuracy": 0.5, "canary_exposure_bits": 0.0, "pii_leaks": 0.0}
    assert compare(served, served, GateSettings(), 1.0) == []
    bad = {"perplexity": float("nan"), "perplexity.law": 11.0, "accuracy": 0.4, "canary_exposure_bits": 8.0, "pii_leaks": 2.0}
    reasons = compare(bad, served, GateSettings(update_norm=0.5), 1.0)
    assert len(reasons) == 6
    assert [word in " ".join(reasons) for word in ("perplexity.law", "accuracy", "canary", "personal", "norm")] == [True] * 5


def digits_tokenizer(model: AdaptedModel) -> PreTrainedTokenizerFast:
    """The same vocabulary, a number split into its digits."""
    raw = Tokenizer(models.WordLevel(model.tokenizer.get_vocab(), unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits(True)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", pad_token="<pad>", eos_token="<|end|>")


def test_memorised_canary_is_exposed_and_refused(model: AdaptedModel, held_out_file: Path) -> None:
    held_out = read_held_out(held_out_file, model, 64)
    model.tokenizer = digits_tokenizer(model)
    canary = Canary("<|user|> {}", "93517264")
    start = model.vector()
    gate = HeldOutGate(model, HeldOut(held_out.rows, (), (canary,)), GateSettings(perplexity_margin=1e6, task_margin=1.0), start)
    assert gate.served_measures["canary_exposure_bits"] < 6.0
    tokens = tuple(model.tokenizer(canary.template.format(canary.secret), add_special_tokens=False)["input_ids"])
    often = LocalSettings(epochs=60, learning_rate=0.2)
    memorised = start + train_locally(model, start, [Row(tokens, tokens)], often, SecureRandom(b"c" * 32)).delta
    assert exposure_bits(model, canary) == 8.0
    (reason,) = gate.judge(memorised).reasons
    assert "canary" in reason
    assert canary.secret not in reason


def test_malformed_canaries(model: AdaptedModel, held_out_file: Path) -> None:
    held_out_file.with_name("canaries.json").write_text('[{"template": "x {}"}]')
    with pytest.raises(BadDataset, match="template, secret"):
        read_held_out(held_out_file, model, 64)
