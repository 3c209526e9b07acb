"""Surrogate names, word by word, so that related names agree.

"Sarah Connor" and "Dr. Connor" share the surname's surrogate because the vault maps each word of a name to one word of a list,
one to one, throughout a conversation. Titles, particles, spacing and punctuation stay; an initial becomes another letter, the
one that the surrogates of names with this initial begin with (where a list has no name of that letter, they begin with
another). So a surrogate tells, beside the others of its conversation, whose initials are the same. Lists exist for Latin, Han
and Cyrillic script; names of other scripts have no surrogate and get a placeholder. Han names map the surname and the given
name. It does NOT keep a name's gender or culture.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.pii.surrogates.base import like_case
from gateway.pii.surrogates.draw import Draws
from gateway.pii.surrogates.name_lists import (
    COMPOUND_SURNAMES_HAN,
    GIVEN_CYRILLIC,
    GIVEN_HAN,
    GIVEN_LATIN,
    PARTICLES,
    SURNAMES_CYRILLIC,
    SURNAMES_HAN,
    SURNAMES_HAN_COMPOUND,
    SURNAMES_LATIN,
    TITLES,
    TITLES_HAN,
)

Role = Literal["given", "surname"]
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_POSSESSIVE = re.compile(r"['’][sS]$")
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class NameWord:
    """One word of a name, [start, end) of the value. An initial has no entry in the vault."""

    start: int
    end: int
    text: str
    role: Role
    initial: bool = False

    @property
    def canonical(self) -> str:
        return unicodedata.normalize("NFKC", self.text).casefold()


def name_words(value: str) -> list[NameWord] | None:
    """The words to replace, in order; None where the name is of a script without a list, or holds no word to replace."""
    script = _script(value)
    if script == "han":
        return _han_words(value)
    if script is None:
        return None
    words: list[NameWord] = []
    titled = False
    for match in _WORD.finditer(value):
        text = _POSSESSIVE.sub("", match[0])
        folded = text.casefold()
        if folded in TITLES:
            titled = True
        elif folded in PARTICLES and words and text.islower():
            continue
        else:
            words.append(NameWord(match.start(), match.start() + len(text), text, "given", len(text) == 1))
    full = [index for index, word in enumerate(words) if not word.initial]
    if not full:
        return None
    last = full[-1]
    if len(words) > 1 or titled:
        words[last] = NameWord(words[last].start, words[last].end, words[last].text, "surname")
    if script == "cyrillic" and any(word.initial for word in words):
        return None
    return words


def word_candidates(word: NameWord, draws: Draws) -> Iterator[str]:
    """List words in keyed order, then pairs of them, joined by a hyphen (Han: written together).

    In Latin script those that begin with the letter of the word's initial come first, so that "S. Connor" agrees with "Sarah Connor".
    """
    pool, joint = _pool(word)
    names = [pool[index] for index in draws.order(len(pool))]
    agreeing = names
    if word.text[0] < "\u0250":
        letter = initial_letter(word.text[0].upper(), draws)
        agreeing = [name for name in names if name[0] == letter] or names
    yield from agreeing
    for probe in range(1, 65):
        draw = draws.at(probe)
        first, second = draw.pick(agreeing), draw.pick(pool)
        if first != second:
            yield f"{first}{joint}{second}"
    yield from (name for name in names if name not in agreeing)


def render_name(value: str, words: Sequence[NameWord], tokens: Sequence[str]) -> str:
    """The value with each word replaced by its token, in the case of the word."""
    for word, token in zip(reversed(words), reversed(tokens), strict=True):
        value = value[: word.start] + like_case(token, word.text) + value[word.end :]
    return value


def initial_letter(letter: str, draws: Draws) -> str:
    """Another letter of A to Z: a keyed permutation without fixed points, the same throughout a conversation."""
    draw = draws.initials()
    cycle = list(_ALPHABET)
    for index in range(len(cycle) - 1, 0, -1):  # Sattolo's algorithm gives one cycle, so that no letter stays
        other = draw.below(index)
        cycle[index], cycle[other] = cycle[other], cycle[index]
    folded = unicodedata.normalize("NFKD", letter)[0].upper()
    if folded not in _ALPHABET:
        return "X"
    new = cycle[_ALPHABET.index(folded)]
    return new if letter.isupper() else new.lower()


def _script(value: str) -> Literal["latin", "han", "cyrillic"] | None:
    letters = [ch for ch in value if ch.isalpha()]
    if not letters or any(unicodedata.combining(ch) for ch in value):
        return None
    if all(ch < "\u0250" or "\u1e00" <= ch <= "\u1eff" for ch in letters):
        return "latin"
    if all("\u3400" <= ch <= "\u9fff" for ch in letters):
        return "han"
    if all("\u0400" <= ch <= "\u04ff" for ch in letters):
        return "cyrillic"
    return None


def _han_words(value: str) -> list[NameWord] | None:
    name = next((value[: -len(title)] for title in TITLES_HAN if value.endswith(title) and len(value) > len(title)), value)
    if not 1 <= len(name) <= 4 or not all("\u3400" <= ch <= "\u9fff" for ch in name):
        return None
    split = 2 if len(name) > 2 and name[:2] in COMPOUND_SURNAMES_HAN else 1
    if name != value and name in COMPOUND_SURNAMES_HAN:
        split = 2
    words = [NameWord(0, split, name[:split], "surname")]
    if len(name) > split:
        words.append(NameWord(split, len(name), name[split:], "given"))
    return words


def _pool(word: NameWord) -> tuple[Sequence[str], str]:
    first = word.text[0]
    if "\u3400" <= first <= "\u9fff":
        if word.role == "surname":
            return (SURNAMES_HAN_COMPOUND if len(word.text) > 1 else SURNAMES_HAN), ""
        return (GIVEN_HAN, "") if len(word.text) == 1 else (_GIVEN_HAN_PAIRS, "")
    if "\u0400" <= first <= "\u04ff":
        return (GIVEN_CYRILLIC if word.role == "given" else SURNAMES_CYRILLIC), "-"
    return (GIVEN_LATIN if word.role == "given" else SURNAMES_LATIN), "-"


_GIVEN_HAN_PAIRS = tuple(a + b for a in GIVEN_HAN for b in GIVEN_HAN if a != b)
