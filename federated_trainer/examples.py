"""Chat examples: JSON lines in OpenAI's messages format, each with the data subject that it is about.

A line is {"subject_id": "...", "messages": [{"role": ..., "content": ...}, ...]}; the loss is taken on the assistant's
tokens. Under differential privacy all examples of one subject form one row, so that clipping a row's gradient bounds
what one subject can do. Not covered: a subject hidden under two identifiers counts as two.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from federated_trainer.errors import BadDataset

IGNORED = -100  # the label that torch's cross-entropy leaves out
_ROLES = frozenset({"system", "user", "assistant"})
_MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Example:
    subject_id: str = field(repr=False)
    messages: tuple[tuple[str, str], ...] = field(repr=False)  # (role, content)


@dataclass(frozen=True, slots=True)
class Row:
    """One training row: token ids and labels of equal length; IGNORED where no loss is taken."""

    token_ids: tuple[int, ...] = field(repr=False)
    labels: tuple[int, ...] = field(repr=False)


def read_examples(path: Path) -> list[Example]:
    """All examples of a file. Raises BadDataset with the number of the line, never its text."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BadDataset(f"The data set {path.name} can't be read: {error.strerror}.") from error
    examples = [_example(line, number) for number, line in enumerate(lines, start=1) if line.strip()]
    if not examples:
        raise BadDataset(f"The data set {path.name} has no examples; a client with nothing to train on takes no part.")
    return examples


def _example(line: bytes, number: int) -> Example:
    def fault(what: str) -> BadDataset:
        return BadDataset(f"Line {number} of the data set {what}.")

    if len(line) > _MAX_LINE_BYTES:
        raise fault("is longer than 1 MiB")
    try:
        raw: Any = json.loads(line)
    except ValueError as error:
        raise fault("is no JSON") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("subject_id"), str) or not raw["subject_id"]:
        raise fault("has no subject_id; it names whose data this is")
    messages = raw.get("messages")
    if not isinstance(messages, list) or not messages:
        raise fault("has no messages")
    turns: list[tuple[str, str]] = []
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in _ROLES or not isinstance(message.get("content"), str):
            raise fault("has a message without a role (system, user, assistant) or a text")
        turns.append((message["role"], message["content"]))
    if not any(role == "assistant" and content.strip() for role, content in turns):
        raise fault("has no answer of the assistant to learn from")
    return Example(raw["subject_id"], tuple(turns))


def row_of(example: Example, tokenizer: Any, max_tokens: int) -> Row:
    """Tokens through the model's own chat template; labels on the assistant's content and its end mark only."""
    ids: list[int] = []
    labels: list[int] = []
    messages: list[dict[str, str]] = []
    for role, content in example.messages:
        # The template of the prefix is a prefix of the template (checked): what is new belongs to this turn.
        if role == "assistant":
            opened = _template(tokenizer, messages, generation=True)
            ids, labels = _extend(ids, labels, opened, learn=False)
        messages.append({"role": role, "content": content})
        ids, labels = _extend(ids, labels, _template(tokenizer, messages, generation=False), learn=role == "assistant")
    return Row(tuple(ids[:max_tokens]), tuple(labels[:max_tokens]))


def _template(tokenizer: Any, messages: list[dict[str, str]], *, generation: bool) -> list[int]:
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _extend(ids: list[int], labels: list[int], longer: list[int], *, learn: bool) -> tuple[list[int], list[int]]:
    if longer[: len(ids)] != ids:
        raise BadDataset("The chat template of the base model rewrites earlier turns; it can't be trained on turn by turn.")
    new = longer[len(ids) :]
    return longer, labels + (new if learn else [IGNORED] * len(new))


def rows_by_example(examples: Sequence[Example], tokenizer: Any, max_tokens: int) -> list[Row]:
    """One row an example. Raises BadDataset where no row has a label left within max_tokens."""
    return _learnable([row_of(example, tokenizer, max_tokens) for example in examples])


def rows_by_subject(examples: Sequence[Example], tokenizer: Any, max_tokens: int, examples_per_subject: int) -> list[Row]:
    """One row a subject: at most `examples_per_subject` of its examples, one after another, cut at max_tokens."""
    by_subject: dict[str, list[Example]] = {}
    for example in examples:
        mine = by_subject.setdefault(example.subject_id, [])
        if len(mine) < examples_per_subject:
            mine.append(example)
    rows = []
    for mine in by_subject.values():
        parts = [row_of(example, tokenizer, max_tokens) for example in mine]
        ids = [token for part in parts for token in part.token_ids]
        labels = [label for part in parts for label in part.labels]
        rows.append(Row(tuple(ids[:max_tokens]), tuple(labels[:max_tokens])))
    return _learnable(rows)


def _learnable(rows: list[Row]) -> list[Row]:
    kept = [row for row in rows if any(label != IGNORED for label in row.labels)]
    if not kept:
        raise BadDataset("No example has an answer within max_tokens; raise it, or shorten the prompts.")
    return kept


def batch_of(rows: Sequence[Row], pad_id: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(token ids, attention mask, labels), each [rows, longest] int64, padded on the right."""
    longest = max(len(row.token_ids) for row in rows)
    ids = torch.full((len(rows), longest), pad_id, dtype=torch.int64)
    mask = torch.zeros((len(rows), longest), dtype=torch.int64)
    labels = torch.full((len(rows), longest), IGNORED, dtype=torch.int64)
    for i, row in enumerate(rows):
        length = len(row.token_ids)
        ids[i, :length] = torch.tensor(row.token_ids)
        mask[i, :length] = 1
        labels[i, :length] = torch.tensor(row.labels)
    return ids, mask, labels
