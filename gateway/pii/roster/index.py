"""The roster's index: sorted 64-bit keyed hashes of its terms, in one block of bytes that a process maps into memory.

Layout: a header line of JSON, padded with spaces to a multiple of 64 bytes, then the terms (8 bytes each, sorted), the marks of words (8
bytes each, sorted), the entity of each term (1 byte). A hash is BLAKE2b (RFC 7693) with the tenant's key, cut to 64 bits: a term
that is not in a roster of n terms is taken for one with probability n / 2^64, about 4e-13 for seven million. Whoever has the bytes and
not the key learns how many terms there are of each entity, and nothing of what they stand for. Whoever has the key can test guesses.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.pii.roster import terms
from gateway.pii.roster.people import Person
from gateway.pii.roster.units import Unit

_FORMAT = 1
_ALIGNED = 64
_MOST_ENTITIES = 255
Hashes = npt.NDArray[np.uint64]


class DamagedRoster(Exception):
    """Bytes that are no roster of this format."""


class TermHash:
    """The keyed hash of one tenant's terms. `key` has 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._keyed = hashlib.blake2b(digest_size=8, key=key, person=b"llmos-roster")  # the key is one block of its own: read once

    def __call__(self, term: bytes) -> int:
        keyed = self._keyed.copy()
        keyed.update(term)
        return int.from_bytes(keyed.digest(), "big")


@dataclass(frozen=True, slots=True)
class Contents:
    """What an index says of itself: how many people, terms of each entity, and the longest name, in units."""

    people: int
    terms: Mapping[str, int]
    longest_name: int
    longest_characters: int


class RosterIndex:
    """An index in memory or mapped from a file. Look-ups are by binary search, for many hashes at once."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        """Raises DamagedRoster."""
        try:
            end = data.find(b"\n")
            header: dict[str, Any] = json.loads(bytes(data[: max(end, 0)]))
            if header["format"] != _FORMAT:
                raise DamagedRoster("another format")
            self.entities: tuple[str, ...] = tuple(header["entities"])
            self.contents = Contents(header["people"], header["terms"], header["longest_name"], header["longest_characters"])
            self.number_lengths = frozenset(header["number_lengths"])
            count, marks = header["count"], header["marks"]
            self._data = data
            start = end + 1
            self.hashes: Hashes = np.frombuffer(data, "<u8", count, start)
            self._marks: Hashes = np.frombuffer(data, "<u8", marks, start + 8 * count)
            self.kinds: npt.NDArray[np.uint8] = np.frombuffer(data, np.uint8, count, start + 8 * (count + marks))
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedRoster(type(error).__name__) from None

    @classmethod
    def open(cls, path: Path) -> RosterIndex:
        """Map a file. Processes that map the same file share its memory. Raises OSError, DamagedRoster."""
        with path.open("rb") as file:
            return cls(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def marked(self, hashes: Sequence[int]) -> list[bool]:
        """Which words (or pairs of characters) some name of the roster has."""
        return [bool(there) for there in _among(self._marks, hashes)[1]]

    def entities_of(self, hashes: Sequence[int]) -> list[str | None]:
        """The entity of each term, None for one that is not in the roster."""
        places, found = _among(self.hashes, hashes)
        return [self.entities[self.kinds[place]] if there else None for place, there in zip(places, found, strict=True)]

    def to_bytes(self) -> bytes:
        return bytes(self._data)

    @property
    def marks(self) -> Hashes:
        return self._marks


def _among(array_of: Hashes, hashes: Sequence[int]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    asked = np.array(hashes, np.uint64)
    if not len(array_of):
        return np.zeros(len(asked), np.intp), np.zeros(len(asked), np.bool_)
    places = np.minimum(np.searchsorted(array_of, asked), len(array_of) - 1)
    return places, array_of[places] == asked


class IndexBuilder:
    """Collects people, then gives the bytes of an index. It holds hashes, and until it is finished the distinct words of names."""

    def __init__(self, key: bytes) -> None:
        self._hash = TermHash(key)
        self._hashes, self._kinds = array("Q"), array("B")
        self._marks: set[int] = set()
        self._words: set[str] = set()
        self._entities: dict[str, int] = {}  # each with its number
        self._people = self._longest_name = self._longest_characters = 0
        self._number_lengths: set[int] = set()
        self.refused = 0  # names and numbers too short, or too long, to be told from other text

    def add(self, person: Person) -> None:
        """One person's terms."""
        self._people += 1
        for name in terms.names_of(person):
            self._add_name(name)
        for entity, several in person.numbers.items():
            for written in several:
                if entity == terms.EMAIL:
                    self._add(terms.of_email(terms.email_form(written)), entity)
                    continue
                forms = terms.number_forms(entity, written)
                self.refused += not forms
                for form in forms:
                    self._number_lengths.add(len(form))
                    self._add(terms.of_number(form), entity)

    def add_index(self, index: RosterIndex) -> None:
        """Everything of another index of the same key."""
        own = np.array([self._entity(entity) for entity in index.entities], np.uint8)
        self._hashes.frombytes(index.hashes.astype("=u8").tobytes())
        self._kinds.frombytes(own[index.kinds].tobytes())
        self._marks.update(index.marks.tolist())
        self._people += index.contents.people
        self._longest_name = max(self._longest_name, index.contents.longest_name)
        self._longest_characters = max(self._longest_characters, index.contents.longest_characters)
        self._number_lengths |= index.number_lengths

    def finish(self) -> bytes:
        """The bytes of the index: terms sorted, each once, with the first of its entities."""
        hashes, kinds = np.frombuffer(self._hashes, np.uint64), np.frombuffer(self._kinds, np.uint8)
        order = np.lexsort((kinds, hashes))
        hashes, kinds = hashes[order], kinds[order]
        once = np.ones(len(hashes), np.bool_)
        once[1:] = hashes[1:] != hashes[:-1]
        hashes, kinds = hashes[once], kinds[once]
        self._marks.update(self._hash(terms.of_word(word)) for word in self._words)
        marks = np.sort(np.fromiter(self._marks, np.uint64, len(self._marks)))
        counts = np.bincount(kinds, minlength=len(self._entities))
        header = json.dumps(
            {
                "format": _FORMAT, "people": self._people, "count": len(hashes), "marks": len(marks), "entities": list(self._entities),
                "terms": {entity: int(count) for entity, count in zip(self._entities, counts, strict=True)},
                "longest_name": self._longest_name, "longest_characters": self._longest_characters,
                "number_lengths": sorted(self._number_lengths),
            }
        )  # fmt: skip
        line = header.encode() + b" " * (-(len(header) + 1) % _ALIGNED) + b"\n"
        return b"".join((line, hashes.astype("<u8").tobytes(), marks.astype("<u8").tobytes(), kinds.tobytes()))

    def _add_name(self, name: list[Unit]) -> None:
        if not name:
            return
        if name[0].kind == "c":
            form = "".join(unit.form for unit in name)
            if not 2 <= len(form) <= terms.LONGEST_NAME:
                self.refused += 1
                return
            self._longest_characters = max(self._longest_characters, len(form))
            self._marks.add(self._hash(terms.of_pair(form[:2])))
            self._add(terms.of_characters(form), terms.PERSON)
            return
        if len(name) > terms.LONGEST_NAME or sum(len(word.form) for word in name) < 3:
            self.refused += 1
            return
        self._longest_name = max(self._longest_name, len(name))
        written: set[bytes] = set()
        for forms in terms.variants(name):
            self._words.update(forms)
            written.add(terms.of_words(forms))
        for term in written:
            self._add(term, terms.PERSON)

    def _add(self, term: bytes, entity: str) -> None:
        self._hashes.append(self._hash(term))
        self._kinds.append(self._entity(entity))

    def _entity(self, entity: str) -> int:
        if entity not in self._entities and len(self._entities) == _MOST_ENTITIES:
            raise ValueError("a roster holds at most 255 entity types")
        return self._entities.setdefault(entity, len(self._entities))


def build(people: Iterable[Person], key: bytes) -> bytes:
    """The index of these people."""
    builder = IndexBuilder(key)
    for person in people:
        builder.add(person)
    return builder.finish()


def chunks(data: bytes, size: int) -> Iterator[bytes]:
    """The bytes in pieces of at most `size`."""
    for start in range(0, len(data), size):
        yield data[start : start + size]
