"""Scores of one detector on one labelled set.

Recall is by exact cover: a labelled span counts when every one of its characters is inside detected spans of any type,
since that is what keeps it from the model server. Precision by span: a detected span counts when more than half of it
lies in labelled spans. False positives are characters detected outside every label, per 1,000 characters of text. F2
weighs recall twice (beta = 2) of these two figures.
"""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field

Spans = list[tuple[int, int, str]]


@dataclass
class Score:
    """Counts over a set."""

    labelled: Counter[str] = field(default_factory=Counter)
    covered: Counter[str] = field(default_factory=Counter)
    typed: Counter[str] = field(default_factory=Counter)  # covered by spans of the labelled type alone
    detected: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    characters: int = 0
    false_characters: int = 0
    times_s: list[float] = field(default_factory=list)

    def add(self, text: str, labels: Spans, found: Spans, seconds: float) -> None:
        inside = bytearray(len(text))
        by_type: dict[str, bytearray] = {}
        for start, end, entity in found:
            inside[start:end] = b"\1" * (end - start)
            by_type.setdefault(entity, bytearray(len(text)))[start:end] = b"\1" * (end - start)
        gold = bytearray(len(text))
        for start, end, entity in labels:
            gold[start:end] = b"\1" * (end - start)
            self.labelled[entity] += 1
            self.covered[entity] += all(inside[start:end])
            self.typed[entity] += entity in by_type and all(by_type[entity][start:end])
        for start, end, entity in found:
            self.detected[entity] += 1
            self.right[entity] += sum(gold[start:end]) * 2 > end - start
        self.characters += len(text)
        self.false_characters += sum(1 for i, o in zip(inside, gold, strict=True) if i and not o)
        self.times_s.append(seconds)

    def recall(self, entities: list[str] | None = None) -> float:
        chosen = list(self.labelled) if entities is None else entities
        total = sum(self.labelled[entity] for entity in chosen)
        return sum(self.covered[entity] for entity in chosen) / total if total else float("nan")

    def precision(self, entities: list[str] | None = None) -> float:
        chosen = list(self.detected) if entities is None else entities
        total = sum(self.detected[entity] for entity in chosen)
        return sum(self.right[entity] for entity in chosen) / total if total else float("nan")

    @property
    def texts(self) -> int:
        return len(self.times_s)

    @property
    def seconds(self) -> float:
        return sum(self.times_s)

    @property
    def median_ms(self) -> float:
        """The median is the fairer figure where other programs share the machine."""
        return 1000 * statistics.median(self.times_s)

    @property
    def false_per_thousand(self) -> float:
        return 1000 * self.false_characters / max(1, self.characters)

    @property
    def ms_per_text(self) -> float:
        return 1000 * self.seconds / max(1, self.texts)


def f2(precision: float, recall: float) -> float:
    """The F score with beta 2."""
    return 5 * precision * recall / (4 * precision + recall) if precision + recall > 0 else 0.0
