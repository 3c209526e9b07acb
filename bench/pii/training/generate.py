"""Labelled sentences from this project's own templates: the training data of the names model.

It shares no template with presidio-evaluator's generator, on which `bench.pii` reports. What the model learns is the
register of such sentences: real text differs, and the figures on generated text do not carry over to it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

from bench.pii.training.values import Values

LABELS = {
    "person": "PERSON", "first": "PERSON", "last": "PERSON",
    "org": "ORGANIZATION",
    "city": "GPE", "country": "GPE", "state": "GPE", "state_abbr": "GPE",
    "address": "STREET_ADDRESS", "street": "STREET_ADDRESS", "street_line": "STREET_ADDRESS", "unit": "STREET_ADDRESS",
    "number": "STREET_ADDRESS",
    "zip": "ZIP_CODE",
    "date": "DATE_TIME", "time": "DATE_TIME", "year": "DATE_TIME", "weekday": "DATE_TIME",
    "age": "AGE",
    # Labels that detection ignores: they keep numbers, jobs and titles from being taken for names.
    "job": "OTHER", "nationality": "OTHER", "title": "OTHER", "code": "OTHER", "amount": "OTHER",
    "phone": "NUMBER", "card": "NUMBER", "iban": "NUMBER", "ssn": "NUMBER", "email": "NUMBER", "ip": "NUMBER", "url": "NUMBER",
}  # fmt: skip
_SLOT = re.compile(r"\{([a-z_]+)\}")
Labelled = tuple[str, list[tuple[int, int, str]]]


def templates(path: Path | None = None) -> list[str]:
    lines = (path or Path(__file__).with_name("templates.txt")).read_text("utf-8").splitlines()
    return [line.replace("\\n", "\n") for line in lines if line.strip() and not line.startswith("# ")]


def fill(template: str, values: Values) -> Labelled:
    """One sentence with its labelled spans."""
    parts: list[str] = []
    spans: list[tuple[int, int, str]] = []
    length = position = 0
    for match in _SLOT.finditer(template):
        if match.group(1) not in LABELS:
            continue
        parts.append(template[position : match.start()])
        length += len(parts[-1])
        value = values.slot(match.group(1))
        spans.append((length, length + len(value), LABELS[match.group(1)]))
        parts.append(value)
        length += len(value)
        position = match.end()
    parts.append(template[position:])
    text = "".join(parts)
    # "12 Main Street" given as a number and a street beside it is one address.
    merged: list[tuple[int, int, str]] = []
    for span in spans:
        if (
            merged
            and merged[-1][2] == span[2]
            and span[2] in ("STREET_ADDRESS", "PERSON")
            and span[0] - merged[-1][1] <= 2
            and text[merged[-1][1] : span[0]].strip(" ,\n") == ""
            and (span[2] == "STREET_ADDRESS" or text[merged[-1][1] : span[0]] == " ")
        ):
            merged[-1] = (merged[-1][0], span[1], span[2])
            continue
        merged.append(span)
    return text, merged


def sentences(count: int, seed: int, held_out: bool = False) -> Iterator[Labelled]:
    """`count` sentences. Every seventh template is held out of training and used for tuning only."""
    values = Values(seed)
    chooser = random.Random(seed)
    chosen = [template for index, template in enumerate(templates()) if (index % 7 == 3) == held_out]
    for _ in range(count):
        text, spans = fill(chooser.choice(chosen), values)
        draw = chooser.random()
        if draw < 0.12 and len(text.lower()) == len(text):
            text = text.lower()
        elif draw < 0.14 and len(text.upper()) == len(text):
            text = text.upper()
        elif draw < 0.30:
            more, more_spans = fill(chooser.choice(chosen), values)
            joint = chooser.choice([" ", " ", "\n"])
            spans = spans + [(start + len(text) + len(joint), end + len(text) + len(joint), label) for start, end, label in more_spans]
            text = text + joint + more
        yield text, spans
