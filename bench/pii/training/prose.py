"""Real prose labelled by the pretrained model, so that training on generated sentences does not unlearn running text.

A model that sees templates alone takes every capital for a name. Its own teacher's labels on real prose hold it back (rehearsal,
or self-distillation: Robins 1995). The labels are silver: the teacher's misses are learned with them. The prose is read from plain
text files that the caller names; none of it is kept in this repository or can be read out of six megabytes of weights word for word.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import spacy

from bench.pii.training.generate import Labelled

_TEACHER = {
    "PERSON": "PERSON", "ORG": "ORGANIZATION", "GPE": "GPE", "NORP": "OTHER", "LOC": "OTHER", "FAC": "OTHER", "PRODUCT": "OTHER",
    "EVENT": "OTHER", "WORK_OF_ART": "OTHER", "LAW": "OTHER", "LANGUAGE": "OTHER", "MONEY": "OTHER", "PERCENT": "OTHER",
}  # fmt: skip
_SURE_DATE = re.compile(
    r"\d{4}|\d{1,2}[:/.-]\d{1,2}|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)", re.IGNORECASE
)
_LONGEST = 600
_SEPARATOR = re.compile(r"\n%\n|\n\s*\n")


def passages(paths: Iterable[Path]) -> Iterator[str]:
    """Paragraphs (or `fortune` entries) of 20 to 600 characters, white space as a reader would see it."""
    for path in paths:
        for passage in _SEPARATOR.split(path.read_text("utf-8", errors="ignore")):
            text = re.sub(r"[ \t]+", " ", passage.replace("\n", " ")).strip()
            if 20 <= len(text) <= _LONGEST and sum(ch.isalpha() or ch == " " for ch in text) > 0.8 * len(text):
                yield text


def silver(teacher: spacy.language.Language, paths: Iterable[Path], count: int, seed: int) -> Iterator[Labelled]:
    """`count` passages, drawn with a seed, with the teacher's labels in ours. Relative dates ("two years") get none."""
    found = sorted(set(passages(paths)))
    random.Random(seed).shuffle(found)
    for doc in teacher.pipe(found[:count], batch_size=64):
        spans = []
        for entity in doc.ents:
            label = _TEACHER.get(entity.label_)
            if entity.label_ in ("DATE", "TIME") and _SURE_DATE.search(entity.text):
                label = "DATE_TIME"
            if label is not None:
                spans.append((entity.start_char, entity.end_char, label))
        yield doc.text, spans
