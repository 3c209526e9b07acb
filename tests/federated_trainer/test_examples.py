"""Examples are refused by line number, never quoted; labels stand on the assistant's tokens only; subjects are bounded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from federated_trainer.errors import BadDataset
from federated_trainer.examples import IGNORED, read_examples, rows_by_example, rows_by_subject

GOOD = {"subject_id": "s", "messages": [{"role": "user", "content": "w1 w2"}, {"role": "assistant", "content": "w3 w4"}]}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "no JSON"),
        ("[]", "no subject_id"),
        (json.dumps(GOOD | {"subject_id": ""}), "no subject_id"),
        (json.dumps(GOOD | {"messages": []}), "no messages"),
        (json.dumps(GOOD | {"messages": [{"role": "tool", "content": "x"}]}), "without a role"),
        (json.dumps(GOOD | {"messages": [{"role": "assistant", "content": None}]}), "without a role"),
        (json.dumps(GOOD | {"messages": [{"role": "user", "content": "secret-canary"}]}), "no answer"),
        ('{"x": "' + "a" * (1 << 20) + '"}', "1 MiB"),
    ],
)
def test_malformed_line_is_named_by_number(tmp_path: Path, line: str, what: str) -> None:
    (tmp_path / "d.jsonl").write_text(json.dumps(GOOD) + "\n" + line + "\n")
    with pytest.raises(BadDataset, match=what) as caught:
        read_examples(tmp_path / "d.jsonl")
    assert "Line 2" in str(caught.value)
    assert "secret-canary" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_empty_data_set_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "d.jsonl").write_text(content)
    with pytest.raises(BadDataset, match="no examples"):
        read_examples(tmp_path / "d.jsonl")
    with pytest.raises(BadDataset, match="can't be read"):
        read_examples(tmp_path / "absent.jsonl")


def test_labels_stand_on_assistant_tokens_of_every_turn(tiny_base: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    turns = [("system", "w9"), ("user", "w1"), ("assistant", "w3 w4"), ("user", "w2"), ("assistant", "w5")]
    line = {"subject_id": "s", "messages": [{"role": r, "content": c} for r, c in turns]}
    (tmp_path / "d.jsonl").write_text(json.dumps(line))
    (row,) = rows_by_example(read_examples(tmp_path / "d.jsonl"), tokenizer, 64)
    learned = [token for token, label in zip(row.token_ids, row.labels, strict=True) if label != IGNORED]
    assert tokenizer.decode(learned).split() == ["w3", "w4", "<|end|>", "w5", "<|end|>"]
    assert all(label in (IGNORED, token) for token, label in zip(row.token_ids, row.labels, strict=True))


def test_one_row_a_subject_with_bounded_contributions(tiny_base: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    lines = [GOOD | {"subject_id": s} for s in ("a", "a", "a", "b")]
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, lines)))
    examples = read_examples(tmp_path / "d.jsonl")
    single = len(rows_by_example(examples, tokenizer, 64)[0].token_ids)
    rows = rows_by_subject(examples, tokenizer, 64, examples_per_subject=2)
    assert [len(row.token_ids) for row in rows] == [2 * single, single]
    assert len(rows_by_subject(examples, tokenizer, single, 2)[0].token_ids) == single
    with pytest.raises(BadDataset, match="max_tokens"):
        rows_by_subject(examples, tokenizer, 3, 2)
