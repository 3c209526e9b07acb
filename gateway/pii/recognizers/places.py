"""Countries, states and towns by a list of 75,000 names (GeoNames, CC BY 4.0): what models miss out of context.

The longest run of words that the list has, begun by a capital, is a place. A name that is also a person's or a word ("Florence",
"Reading") counts only after a word such as "in" or before a state or country; so does a town in lower case. It does NOT tell places of one
name apart, and it does NOT know villages. The list is made by `bench.pii.training.place_list`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property

from gateway.pii.reading import Reading
from gateway.pii.recognizers.base import Finding, Recognizer
from gateway.pii.recognizers.listed_names import places
from gateway.pii.recognizers.zip_code import US_STATES

_WORD = re.compile(r"[^\W\d_]+(?:(?:['’-]|\.(?=[^\W\d_]))[^\W\d_]+)*\.?")
_GAP = re.compile(r" |, (?=[A-Z])|\. | & ")
_LONGEST = 7  # words
_SHORTEST_IN_LOWER_CASE = 4
_SCORE, _CALLED_FOR, _LOWER_CASE = 0.6, 0.55, 0.45
_BEFORE = re.compile(
    r"(?:\b(?:in|near|visit|visited|visiting|outside|around|from|city of|town of|capital of|moved to|fly to|flight to|trip to|based in|"
    r"live in|lives in|born in|travel to|travelling to|traveling to|weather in)|\b(?:city|town|country|state|place of birth)\"?[:=]) ?\"?$",
    re.IGNORECASE,
)
_AFTER = re.compile(rf",? (?:{US_STATES})\b(?! ?['’])|, (?:USA|UK|U\.S\.|[A-Z][a-z]+)\b")
_CODES = re.compile(r"\b(?:USA|U\.S\.A\.|UK|U\.K\.|UAE|U\.A\.E\.|U\.S\.)(?![\w])")
_THE_US = re.compile(r"\b(?:in|to|from|across|throughout|within|outside|the) (US|EU)\b")
_STATE_AFTER_PLACE = re.compile(rf"[^\W\d_], ?({US_STATES})(?![\w'’-])")


class PlaceRecognizer(Recognizer):
    entities = ("GPE",)

    @cached_property
    def _first_words(self) -> frozenset[str]:
        return frozenset(name.split()[0].rstrip(",") for names in places() for name in names)

    def load(self) -> None:
        """Read the list (0.1 s)."""
        assert self._first_words

    def find(self, reading: Reading) -> Iterator[Finding]:
        text = reading.text
        for pattern in (_CODES, _THE_US, _STATE_AFTER_PLACE):
            for match in pattern.finditer(text):
                yield Finding(*match.span(match.lastindex or 0), "GPE", _SCORE)
        found = list(_WORD.finditer(text))
        at = 0
        while at < len(found):
            last, score = self._longest(text, found, at)
            if score:
                yield Finding(found[at].start(), _end(found[last], text), "GPE", score)
            at = last + 1 if score else at + 1

    def _longest(self, text: str, found: list[re.Match[str]], at: int) -> tuple[int, float]:
        """The last word of the longest name that begins at word `at`, and its score; 0 for none."""
        sure, unsure = places()
        word = found[at][0].casefold().replace("’", "'")
        if word not in self._first_words and word.rstrip(".") not in self._first_words:
            return at, 0.0
        last = at
        while last + 1 < len(found) and last - at < _LONGEST and _GAP.fullmatch(text, found[last].end(), found[last + 1].start()):
            last += 1
        start = found[at].start()
        for end_at in range(last, at - 1, -1):
            value = text[start : _end(found[end_at], text)]
            name = value.casefold().replace("’", "'")
            if name not in sure and name not in unsure:
                continue
            if not value[0].isupper():
                lower = len(value) >= _SHORTEST_IN_LOWER_CASE and name in sure and _BEFORE.search(text, max(0, start - 24), start)
                return end_at, _LOWER_CASE if lower else 0.0
            if name in sure:
                return end_at, _SCORE
            called_for = _BEFORE.search(text, max(0, start - 24), start) or _AFTER.match(text, found[end_at].end())
            return end_at, _CALLED_FOR if called_for else 0.0
        return at, 0.0


def _end(word: re.Match[str], text: str) -> int:
    """The word's end without the full stop of a sentence."""
    return word.end() - 1 if word[0].endswith(".") and word[0].count(".") == 1 else word.end()
