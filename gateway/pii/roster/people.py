"""The people of a roster as a tenant hands them over: CSV with a header line, or JSON lines.

CSV columns: `name`, or `given_name` and `family_name` (`middle_name` may stand between); `aliases`; `phone`, `email`; and any entity
type of the policy as a column of numbers (MEDICAL_RECORD, CUSTOMER_NUMBER, …). Several values in a cell are parted by `;` or `|`.
JSON lines have the same keys, each a string or a list of strings. A column that is not one of these is an error that names it: a
misspelt header would leave everybody in it unprotected. A message names lines and columns, never a value.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

_ENTITY = re.compile(r"[A-Z][A-Z0-9_]{1,63}")
_PARTED = re.compile(r"[;|]")
_KEYS = {
    "name": "name", "names": "name", "full_name": "name", "fullname": "name", "alias": "alias", "aliases": "alias", "nickname": "alias",
    "given_name": "given", "first_name": "given", "firstname": "given", "forename": "given", "given": "given",
    "middle_name": "middle", "middle": "middle",
    "family_name": "family", "last_name": "family", "lastname": "family", "surname": "family", "family": "family",
    "phone": "PHONE_NUMBER", "phones": "PHONE_NUMBER", "mobile": "PHONE_NUMBER", "telephone": "PHONE_NUMBER",
    "email": "EMAIL_ADDRESS", "emails": "EMAIL_ADDRESS", "e_mail": "EMAIL_ADDRESS",
    "mrn": "MEDICAL_RECORD", "ssn": "US_SSN", "numbers": "numbers",
    "姓名": "name", "别名": "alias", "电话": "PHONE_NUMBER", "手机": "PHONE_NUMBER", "邮箱": "EMAIL_ADDRESS", "身份证号": "CN_RESIDENT_ID",
    "病历号": "MEDICAL_RECORD",
}  # fmt: skip


class RosterError(ValueError):
    """A roster file that can't be used. The message names the line and the column, never a value."""


@dataclass(frozen=True, slots=True)
class Person:
    """One identity. `names` are whole names; `parts` are (given, middle, family) where the file has them apart; `numbers` by entity."""

    names: tuple[str, ...] = field(default=(), repr=False)
    parts: tuple[str, str, str] | None = field(default=None, repr=False)
    numbers: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)


def read_people(lines: Iterable[str], *, ignored: frozenset[str] = frozenset()) -> Iterator[Person]:
    """The people of a file: JSON lines where the first line is a JSON object, else CSV. Raises RosterError."""
    iterator = iter(lines)
    first = next((line for line in iterator if line.strip()), None)
    if first is None:
        raise RosterError("The file is empty.")
    rest = chain((first.removeprefix("\ufeff"),), iterator)
    return _json_people(rest, ignored) if first.lstrip("\ufeff \t").startswith("{") else _csv_people(rest, ignored)


def _csv_people(lines: Iterable[str], ignored: frozenset[str]) -> Iterator[Person]:
    reader = csv.reader(lines)
    columns = [_key_of(name, "the header", ignored) for name in next(reader)]
    if not {"name", "given", "family", "alias"} & set(columns) and not any(_ENTITY.fullmatch(column) for column in columns):
        raise RosterError("The header names no column of names or numbers; see `llmos roster load --help`.")
    for row in reader:
        if len(row) != len(columns):
            if not any(cell.strip() for cell in row):
                continue
            raise RosterError(f"Line {reader.line_num} has {len(row)} cells; the header has {len(columns)}.")
        values: dict[str, list[str]] = {}
        for column, cell in zip(columns, row, strict=True):
            if column and cell.strip():
                values.setdefault(column, []).extend(part.strip() for part in _PARTED.split(cell) if part.strip())
        yield _person(values, f"line {reader.line_num}")


def _json_people(lines: Iterable[str], ignored: frozenset[str]) -> Iterator[Person]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            plain = json.loads(line)
        except ValueError:
            raise RosterError(f"Line {number} is not JSON.") from None
        if not isinstance(plain, dict):
            raise RosterError(f"Line {number} is not a JSON object.")
        values: dict[str, list[str]] = {}
        for name, value in plain.items():
            column = _key_of(name, f"line {number}", ignored)
            if column == "numbers":
                if not isinstance(value, dict):
                    raise RosterError(f"Line {number}: `numbers` is an object from entity type to numbers.")
                for entity, several in value.items():
                    if not _ENTITY.fullmatch(entity):
                        raise RosterError(f"Line {number}: a key of `numbers` is not an entity type such as MEDICAL_RECORD.")
                    values.setdefault(entity, []).extend(_strings(several, entity, number))
            elif column:
                values.setdefault(column, []).extend(_strings(value, name, number))
        yield _person(values, f"line {number}")


def _strings(value: object, key: str, number: int) -> list[str]:
    several: list[object] = value if isinstance(value, list) else [] if value is None else [value]
    strings = [one.strip() for one in several if isinstance(one, str)]
    if len(strings) != len(several):
        raise RosterError(f"Line {number}: `{key}` is not a string or a list of strings.")
    return [one for one in strings if one]


def _key_of(name: str, where: str, ignored: frozenset[str]) -> str:
    """What a column or key holds; "" for one that the caller ignores."""
    plain = name.strip()
    if plain in ignored:
        return ""
    if _ENTITY.fullmatch(plain):
        return plain
    key = _KEYS.get(re.sub(r"[\s-]+", "_", plain.casefold()))
    if key is None:
        # A file without a header would be quoted here: only a plain identifier is.
        shown = f" {plain!r}" if re.fullmatch(r"[a-z]+(?:_[a-z]+)*", plain) else ""
        raise RosterError(f"In {where}, the column{shown} is not known; name it as in `llmos roster load --help`, or pass --ignore.")
    return key


def _person(values: Mapping[str, list[str]], where: str) -> Person:
    given, middle, family = (" ".join(values.get(part, ())) for part in ("given", "middle", "family"))
    numbers = {entity: tuple(several) for entity, several in values.items() if _ENTITY.fullmatch(entity)}
    names = (*values.get("name", ()), *values.get("alias", ()))
    if not names and not (given or family) and not numbers:
        raise RosterError(f"In {where}, nobody is named: it has no name and no number.")
    return Person(names, (given, middle, family) if given or family else None, numbers)
