"""What is hashed of a person: each way in which a name or a number of theirs is written, in one normal form.

A name of words is its folded words in sorted order, so that "Connor, Sarah" is "Sarah Connor", with ae, oe, ue and aa as one letter, so
that "Mueller" is "Müller" (and "Sue" is "Su": names that come together are found more often, never less). Besides the whole name, these
count: the first word with the last; the first word's initial with the last ("S. Connor", with its full stop); middle names as initials.
A name in Han, kana or Hangul is its characters without spaces. A number is its letters and digits; a telephone number counts with and
without its country code. A single word of a name does not count by itself (it would match the word everywhere), unless it is loaded as
a name or an alias of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from gateway.pii.roster.people import Person
from gateway.pii.roster.units import Unit, units
from gateway.pii.surrogates.name_lists import PARTICLES, TITLES

PERSON, EMAIL, PHONE = "PERSON", "EMAIL_ADDRESS", "PHONE_NUMBER"
LONGEST_NAME = 8  # words, or Han characters
LEAST_NUMBER = 4  # letters and digits, of which three are digits
LONGEST_NUMBER = 40
_DIGRAPH = re.compile(r"aa|ae|oe|ue")


def _spelled(form: str) -> str:
    return _DIGRAPH.sub(lambda pair: pair[0][0], form)


def of_words(forms: list[str]) -> bytes:
    """The term of a name of words, in any order."""
    return b"n" + "\x1f".join(sorted(map(_spelled, forms))).encode()


def of_characters(form: str) -> bytes:
    """The term of a name in a script without spaces."""
    return b"c" + form.encode()


def of_number(form: str) -> bytes:
    return b"#" + form.encode()


def of_email(form: str) -> bytes:
    return b"@" + form.encode()


def of_word(form: str) -> bytes:
    """A mark that some name of the roster has this word: most words of a text are told apart by it at once."""
    return b"w" + _spelled(form).encode()


def of_pair(form: str) -> bytes:
    """The same for the first two characters of a name without spaces."""
    return b"p" + form.encode()


def names_of(person: Person) -> Iterator[list[Unit]]:
    """Each whole name as units, with and without titles; names of two scripts come apart."""
    for name in (*person.names, *_joined(person.parts)):
        found = units(name)
        words = [unit for unit in found if unit.kind in "wid"]
        if any(word.kind == "w" for word in words):
            yield words
            untitled = [word for word in words if word.form.rstrip(".") not in TITLES]
            if 1 < len(untitled) < len(words):
                yield untitled
        yield [unit for unit in found if unit.kind == "c"]


def _joined(parts: tuple[str, str, str] | None) -> Iterator[str]:
    """Whole names from given, middle and family names."""
    if parts is None:
        return
    given, middle, family = parts
    yield " ".join(part for part in parts if part)
    if given and family:
        yield f"{given} {family}"
        if middle:
            yield f"{given} {' '.join(word[0] + '.' for word in middle.split())} {family}"
        first = units(family)
        if first and first[0].kind == "c":
            yield family + given  # Han, kana and Hangul names put the family first


def variants(words: list[Unit]) -> Iterator[list[str]]:
    """The ways of writing one name of words, each as folded forms."""
    forms = [word.form for word in words]
    yield forms
    if len(forms) == 1:
        return
    bare = [form.rstrip(".") for form in forms]
    first, *middle, last = bare
    yield bare
    yield [first, last]
    if len(last) > 1:
        yield [first[0] + ".", last]
    core = [word for word in middle if word not in PARTICLES]
    if core:
        for dot in (".", ""):
            yield [first, *(word[0] + dot for word in core), last]
        yield [first[0] + ".", *(word[0] + "." for word in core), last]


def number_forms(entity: str, written: str) -> set[str]:
    """The normal forms of a number; empty where it is too short to be told from any other digits."""
    form = "".join(unit.form.rstrip(".") for unit in units(written) if unit.kind in "wid")
    forms = {form}
    if entity == PHONE:
        forms |= _telephone(written, form)
    return {form for form in forms if len(form) >= LEAST_NUMBER and sum(map(str.isdigit, form)) >= 3 and len(form) <= LONGEST_NUMBER}


def _telephone(written: str, digits: str) -> set[str]:
    """With the country code, after 00, by its national number alone, and with the trunk's 0, where the country is written."""
    if not written.lstrip().startswith(("+", "00")):
        return {digits, digits.lstrip("0")}
    whole = digits.removeprefix("00")
    code = next((whole[:size] for size in (1, 2, 3) if whole[:size].isdigit() and int(whole[:size]) in COUNTRY_CODE_TO_REGION_CODE), "")
    national = whole[len(code) :].removeprefix("0")
    return {whole, f"00{whole}", f"{code}{national}", national, f"0{national}"}


def email_form(written: str) -> str:
    return written.strip().casefold()
