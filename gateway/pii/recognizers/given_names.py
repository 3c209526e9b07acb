"""Persons by their given names: a list of about twenty-one thousand, in Latin script, that are no common words.

A capitalised word of the list is a person's name, with the capitalised words that follow it, unless a word beside it says that it names
a place or a body ("Victoria Station", "San Marcos"). It finds what models miss out of context: "Action items: Shaun, Ferenc"; in lower
case names of five letters and more, less surely. It does NOT find surnames alone, or names that are words. The list is made by
`bench.pii.training.name_list`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.pii.reading import Reading
from gateway.pii.recognizers.base import Finding, Recognizer
from gateway.pii.recognizers.listed_names import given_names
from gateway.pii.recognizers.plausible import NOT_NAMES
from gateway.pii.surrogates.name_lists import words

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_LOWER_CASE = re.compile(r"(?:(?<=^)|(?<=[\s,;(]))([a-zß-ÿ]{5,})(?:'s)?(?=$|[\s,;!?)]|\.(?:\s|$))")
_NAME_GAP = re.compile(r" |-| [A-Z]\. ")
_LONGEST = 3  # words that follow the given name
_SCORE, _SURE_SCORE, _LOWER_CASE_SCORE = 0.55, 0.7, 0.42
PLACE_BEFORE = frozenset(
    words(
        """saint st san santa santo sao são los las el la lake port fort mount cape new north south east west isle rio university hotel
        hospital school church the"""
    )
)
PLACE_AFTER = frozenset(
    words(
        """street st avenue ave road rd lane drive boulevard blvd place square court terrace way highway bridge station airport terminal
        university college school academy institute hospital clinic center centre museum library church cathedral temple park garden
        gardens zoo beach bay island islands lake river falls valley hill hills mountain mountains county city town village province
        state district region bank hotel inn restaurant cafe bar grill pizza theatre theater stadium arena house hall tower building
        plaza mall market store shop inc ltd llc llp plc corp corporation company co gmbh ag group holdings partners associates
        brothers sons foundation trust airlines motors records films studios pharmaceuticals insurance cup league award prize theorem
        law effect day disease syndrome language programming server"""
    )
)


class GivenNameRecognizer(Recognizer):
    entities = ("PERSON",)

    def load(self) -> None:
        """Read the list (20 ms)."""
        given_names()

    def find(self, reading: Reading) -> Iterator[Finding]:
        text = reading.text
        yield from self._in_lower_case(text)
        found = list(_WORD.finditer(text))
        at = 0
        while at < len(found):
            word = found[at]
            if not word[0][0].isupper() or not self._is_given(word[0]):
                at += 1
                continue
            last = at
            while last + 1 < len(found) and last - at < _LONGEST and found[last + 1][0][0].isupper():
                if not _NAME_GAP.fullmatch(text, found[last].end(), found[last + 1].start()):
                    break
                last += 1
            before = found[at - 1] if at and text[found[at - 1].end() : word.start()] in (" ", ". ") else None
            after = found[last + 1] if last + 1 < len(found) and text[found[last].end() : found[last + 1].start()] == " " else None
            a_place = (before is not None and before[0].lower() in PLACE_BEFORE) or any(
                word_of is not None and word_of[0].lower() in PLACE_AFTER for word_of in (*found[at + 1 : last + 1], after)
            )
            if not a_place:
                yield Finding(word.start(), found[last].end(), "PERSON", _SURE_SCORE if last > at else _SCORE)
            at = last + 1

    def _in_lower_case(self, text: str) -> Iterator[Finding]:
        """Names of five letters and more as people write them in chats: "ask priyanka"."""
        for word in _LOWER_CASE.finditer(text):
            if word[1].capitalize() in given_names() and word[1] not in NOT_NAMES:
                yield Finding(*word.span(1), "PERSON", _LOWER_CASE_SCORE)

    def _is_given(self, word: str) -> bool:
        """Whether the word, or its part before a hyphen, is in the list, also in capitals."""
        names = given_names()
        first = word.partition("-")[0]
        return word in names or first in names or (len(word) > 3 and word.isupper() and word.title() in names)
