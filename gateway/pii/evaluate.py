"""Recall of detection on labelled text, by entity, with a confidence interval: what `llmos pii evaluate` reports.

A label counts as found when every one of its characters lies in detected spans, of whatever type: that is what keeps it
from the model server. The interval is Wilson's score interval (Wilson 1927), which stays inside [0, 1] and is sound for
few labels. It says how sure the share is on text like the file's, not on other text.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from gateway.exchange import Span


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text and its labelled spans (start, end, entity) in code points."""

    text: str = field(repr=False)
    spans: tuple[tuple[int, int, str], ...]


@dataclass(frozen=True, slots=True)
class Recall:
    """`found` of `labelled`, the share, and its confidence interval."""

    entity: str
    labelled: int
    found: int
    recall: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Recall over all labels and by entity, and how much was detected outside every label."""

    texts: int
    overall: Recall
    by_entity: tuple[Recall, ...]
    false_characters_per_thousand: float


def wilson_interval(found: int, labelled: int, confidence_z: float = 1.959964) -> tuple[float, float]:
    """Wilson's interval of a share; z = 1.96 gives 95 %. No labels give (0, 1)."""
    if labelled == 0:
        return 0.0, 1.0
    share, z2 = found / labelled, confidence_z**2
    centre = share + z2 / (2 * labelled)
    spread = confidence_z * math.sqrt(share * (1 - share) / labelled + z2 / (4 * labelled**2))
    scale = 1 + z2 / labelled
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def read_labelled(lines: Iterable[str]) -> Iterator[LabelledText]:
    """JSON lines: {"text": …, "spans": [{"start": …, "end": …, "entity": …}]}; empty lines are skipped.

    Raises:
        ValueError: a line is not of this form; the message names the line's number and never quotes it.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            text = row["text"]
            spans = tuple((int(span["start"]), int(span["end"]), str(span["entity"])) for span in row["spans"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f'line {number}: want {{"text": …, "spans": [{{"start", "end", "entity"}}]}} ({type(error).__name__})'
            ) from None
        if not isinstance(text, str) or any(not 0 <= start < end <= len(text) for start, end, _ in spans):
            raise ValueError(f"line {number}: a span lies outside its text; offsets are code points, the end is exclusive")
        yield LabelledText(text, spans)


def evaluate(labelled: Iterable[LabelledText], detect: Callable[[str], Sequence[Span]]) -> Evaluation:
    """Run `detect` over every text and count."""
    total: Counter[str] = Counter()
    found: Counter[str] = Counter()
    texts = characters = false_characters = 0
    for item in labelled:
        texts += 1
        characters += len(item.text)
        inside = bytearray(len(item.text))
        for span in detect(item.text):
            inside[span.start : span.end] = b"\1" * (span.end - span.start)
        for start, end, entity in item.spans:
            total[entity] += 1
            found[entity] += all(inside[start:end])
        for start, end, _ in item.spans:
            inside[start:end] = b"\0" * (end - start)
        false_characters += sum(inside)
    return Evaluation(
        texts=texts,
        overall=_recall("ALL", sum(found.values()), sum(total.values())),
        by_entity=tuple(_recall(entity, found[entity], total[entity]) for entity in sorted(total)),
        false_characters_per_thousand=1000 * false_characters / max(1, characters),
    )


def _recall(entity: str, found: int, labelled: int) -> Recall:
    low, high = wilson_interval(found, labelled)
    return Recall(entity, labelled, found, found / labelled if labelled else 0.0, low, high)
