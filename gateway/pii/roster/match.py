"""Where the people of a roster stand in a text: every run of units that is a term of the index, the longest first.

A message costs one hash for each distinct word, then one for each run of words that all occur in names of the roster. Words of a name may
be parted by white space, a comma, a hyphen, a full stop after an initial, or the separators of a table's cells. It does NOT find a
misspelt name, a nickname that was not loaded, a single surname, or a name whose parts stand in different fields.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from gateway.exchange import Span
from gateway.pii.roster import terms
from gateway.pii.roster.index import RosterIndex, TermHash
from gateway.pii.roster.units import Unit, units

_SCORE = 1.0
_NAME_GAP = re.compile(r"[ \t\u00a0]{1,3}|[_.·‐‑–-]| ?[,;|] ?|\"[,;]\"|\r?\n|")
_CHARACTER_GAP = re.compile(r"[ \u3000·・]?")
_NUMBER_GAP = re.compile(r"[ .\-‐‑–/()+_#\u00a0]{0,3}")
_LONGEST_LETTERS = 6  # a longer word is no part of a number
_FIRST_DIGIT = 3  # a number has a digit among its first three units
_EMAIL = re.compile(r"[^\s<>\"'(),;:\[\]]{1,64}@[^\s<>\"'(),;:\[\]]{2,190}")


class Roster:
    """A tenant's roster, ready to match. `find` is pure and may be called from one thread at a time."""

    def __init__(self, index: RosterIndex, key: bytes) -> None:
        self._index = index
        self._hash = TermHash(key)

    @classmethod
    def open(cls, path: Path, key: bytes) -> Roster:
        """Map a roster's file. Raises OSError, DamagedRoster."""
        return cls(RosterIndex.open(path), key)

    def find(self, text: str) -> list[Span]:
        """The spans of the roster's people, sorted, not overlapping. Every character of a match is covered."""
        cut = units(text)
        runs = [*self._names(text, cut), *self._characters(text, cut), *self._numbers(text, cut)]
        candidates = [(cut[first].start, cut[last].end, term) for first, last, term in runs]
        candidates.extend(self._emails(text))
        if not candidates:
            return []
        entities = self._index.entities_of([self._hash(term) for _, _, term in candidates])
        found = [(start, end, entity) for (start, end, _), entity in zip(candidates, entities, strict=True) if entity is not None]
        return list(_apart(text, found))

    def _marked(self, marks: dict[str, bytes]) -> set[str]:
        """Of the forms with their marks, those that some name of the roster has."""
        if not marks:
            return set()
        return {form for form, there in zip(marks, self._index.marked([self._hash(mark) for mark in marks.values()]), strict=True) if there}

    def _names(self, text: str, cut: list[Unit]) -> Iterator[tuple[int, int, bytes]]:
        longest = self._index.contents.longest_name
        if not longest:
            return
        known = self._marked({unit.form: terms.of_word(unit.form) for unit in cut if unit.kind != "c"})
        is_name = [unit.kind != "c" and unit.form in known for unit in cut]
        for first, unit in enumerate(cut):
            if not is_name[first]:
                continue
            forms = [unit.form]
            yield first, first, terms.of_words(forms)
            for last in range(first + 1, min(first + longest, len(cut))):
                if not is_name[last] or not _NAME_GAP.fullmatch(text, cut[last - 1].end, cut[last].start):
                    break
                forms.append(cut[last].form)
                yield first, last, terms.of_words(forms)

    def _characters(self, text: str, cut: list[Unit]) -> Iterator[tuple[int, int, bytes]]:
        longest = self._index.contents.longest_characters
        if not longest:
            return
        joined = [
            left.kind == right.kind == "c" and _CHARACTER_GAP.fullmatch(text, left.end, right.start) is not None
            for left, right in pairwise(cut)
        ]
        pairs = {place: cut[place].form + cut[place + 1].form for place, together in enumerate(joined) if together}
        known = self._marked({pair: terms.of_pair(pair) for pair in pairs.values()})
        for first, pair in pairs.items():
            if pair not in known:
                continue
            form = cut[first].form
            for last in range(first + 1, min(first + longest, len(cut))):
                if not joined[last - 1]:
                    break
                form += cut[last].form
                yield first, last, terms.of_characters(form)

    def _numbers(self, text: str, cut: list[Unit]) -> Iterator[tuple[int, int, bytes]]:
        lengths = self._index.number_lengths
        if not lengths:
            return
        longest = max(lengths)
        digits_at = [place for place, unit in enumerate(cut) if unit.kind == "d"]
        for first in sorted({place - before for place in digits_at for before in range(_FIRST_DIGIT) if place >= before}):
            unit = cut[first]
            if not _in_number(unit):
                continue
            if first and cut[first - 1].end == unit.start and cut[first - 1].kind == "w" and cut[first - 1].end - cut[first - 1].start == 1:
                continue  # A4711 is another number than 4711
            form, digits = "", 0
            for last in range(first, min(first + longest, len(cut))):
                part = cut[last]
                if not _in_number(part) or (last > first and not _NUMBER_GAP.fullmatch(text, cut[last - 1].end, part.start)):
                    break
                form += part.form.rstrip(".")
                digits += len(part.form) if part.kind == "d" else 0
                if len(form) > longest:
                    break
                glued = last + 1 < len(cut) and cut[last + 1].start == part.end and cut[last + 1].kind != "c"
                if digits >= 3 and len(form) in lengths and not glued:
                    yield first, last, terms.of_number(form)

    def _emails(self, text: str) -> Iterator[tuple[int, int, bytes]]:
        if "@" in text:
            for match in _EMAIL.finditer(text):
                written = match[0].rstrip(".!?")
                yield match.start(), match.start() + len(written), terms.of_email(terms.email_form(written))


def _in_number(unit: Unit) -> bool:
    return unit.kind == "d" or (unit.kind in "wi" and len(unit.form) <= _LONGEST_LETTERS and unit.form.rstrip(".").isascii())


def _apart(text: str, found: list[tuple[int, int, str]]) -> Iterator[Span]:
    """From left to right, the longest first. A match that crosses a chosen one extends it, unless chosen ones cover its words."""
    chosen: list[tuple[int, int, str]] = []
    crossing: list[tuple[int, int]] = []
    for start, stop, entity in sorted(found, key=lambda match: (match[0], -match[1])):
        if not chosen or start >= chosen[-1][1]:
            chosen.append((start, stop, entity))
        else:
            crossing.append((start, stop))
    starts = [start for start, _, _ in chosen]
    for start, stop in crossing:
        after = bisect_right(starts, start)  # it begins in the chosen match before this one, and may end in this one
        first, left, entity = chosen[after - 1]
        right = min(stop, starts[after]) if after < len(starts) else stop
        if any(ch.isalnum() for ch in text[left:right]):
            chosen[after - 1] = (first, right, entity)
    for start, stop, entity in chosen:
        yield Span(start, stop, entity, _SCORE)
