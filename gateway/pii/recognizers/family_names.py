"""Persons by their family names: a list of 46,000, in Latin script, that are no common words, countries or states.

A capitalised word of the list is a name, with an initial or a capitalised word before it, unless the words beside it say that
it names a street, a body or a thing. It finds what has no context: "Tikka,Aino", "the Baumgartners". It does NOT find names in
lower case, or names that are words. The list is made by `bench.pii.training.place_list`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.pii.reading import Reading
from gateway.pii.recognizers.base import Finding, Recognizer
from gateway.pii.recognizers.given_names import PLACE_AFTER, PLACE_BEFORE
from gateway.pii.recognizers.listed_names import family_names

_WORD = re.compile(r"(?<![\w@.#/\\$-])(?:(?:[A-Z]\. ?){1,2})?([^\W\d_]+(?:['’-][^\W\d_]+)*)(?![\w@(]|\.\w|[/\\]\w|://)")
_NEXT = re.compile(r" ([^\W\d_]+)")
_PREVIOUS = re.compile(r"([^\W\d_]+)[ .]{1,2}$")
_SCORE = 0.5
_ARTICLE = frozenset({"the"})  # "the Baumgartners"


class FamilyNameRecognizer(Recognizer):
    entities = ("PERSON",)

    def load(self) -> None:
        """Read the list (20 ms)."""
        family_names()

    def find(self, reading: Reading) -> Iterator[Finding]:
        text = reading.text
        for word in _WORD.finditer(text):
            if not word[1][0].isupper() or not self._is_family(word[1]):
                continue
            after = _NEXT.match(text, word.end())
            before = _PREVIOUS.search(text, max(0, word.start() - 24), word.start())
            if (after and after[1].lower() in PLACE_AFTER) or (before and before[1].lower() in PLACE_BEFORE - _ARTICLE):
                continue
            yield Finding(word.start(), word.end(), "PERSON", _SCORE)

    def _is_family(self, word: str) -> bool:
        """Whether the word, its first or last part, or its singular, is in the list, also in capitals."""
        names = family_names()
        first, _, last = word.rpartition("-")
        word = word.removesuffix("'s").removesuffix("’s")
        return (
            word in names
            or (first != "" and first in names and last in names)
            or (word.endswith("s") and word[:-1] in names and len(word) > 5)
            or (len(word) > 4 and word.isupper() and word.title() in names)
        )
