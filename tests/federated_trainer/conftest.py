"""A base model so small that a round takes a second, and institutions that train it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from federated_trainer.roster import client_id, make_identity, write_roster
from federated_trainer.settings import InstitutionSettings

torch.set_num_threads(1)  # the models are tiny: a second thread would only wait, and on a busy machine for long

WORDS = [f"w{i}" for i in range(40)] + list("0123456789")
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|> {{ m['content'] }} <|end|> {% endfor %}"
    "{% if add_generation_prompt %}<|assistant|> {% endif %}"
)
SPECIAL = ["<unk>", "<pad>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", pad_token="<pad>", eos_token="<|end|>")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        pad_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_examples(path: Path, count: int, offset: int = 0, subjects: int | None = None) -> Path:
    lines = []
    for i in range(count):
        question = f"w{(i + offset) % 20} w{(2 * i + offset) % 20}"
        answer = f"w{20 + (i + offset) % 20} w30 w31"
        subject = f"s{i % (subjects or count)}"
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        lines.append(json.dumps({"subject_id": subject, "messages": messages}))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def make_institutions(tmp_path: Path, tiny_base: Path) -> Callable[..., dict[int, InstitutionSettings]]:
    def make(counts: tuple[int, ...], **changes: object) -> dict[int, InstitutionSettings]:
        publics = {f"i{n}": make_identity(tmp_path / f"i{n}" / "identity.key") for n in range(len(counts))}
        write_roster(tmp_path / "roster.json", publics)
        made = {}
        for n, count in enumerate(counts):
            home = tmp_path / f"i{n}"
            fields: dict[str, object] = {
                "name": f"i{n}",
                "data": write_examples(home / "train.jsonl", count, offset=7 * n),
                "base_model": tiny_base,
                "identity_key": home / "identity.key",
                "roster": tmp_path / "roster.json",
                "ledger": home / "ledger.jsonl",
                "require_privacy": False,
            }
            made[client_id(publics[f"i{n}"])] = InstitutionSettings.model_validate(fields | changes)
        return made

    return make
