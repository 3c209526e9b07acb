"""Surrogate dates: shifted by whole days, in the format in which they were written.

The first probe shifts every date of a conversation by the same number of days, so that intervals and orders stay what they were and
the model can reckon with them; a probe after it (a collision) takes a shift of its own. Times of day, ages, years, months and
weekdays come from their own small sets. It does NOT hide the intervals between dates: that is what it keeps.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator

from gateway.pii.surrogates.base import like_case, plain_canonical
from gateway.pii.surrogates.draw import Draws
from gateway.pii.surrogates.name_lists import words

_PROBES = 32
_SHIFT_DAYS = (60, 700)
_MONTHS = words("January February March April May June July August September October November December")
_WEEKDAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
_MONTH_OF = {written.casefold(): number for number, name in enumerate(_MONTHS, 1) for written in (name, name[:3])} | {"sept": 9}
_MONTH = r"(?P<month>[A-Za-z]{3,9})\.?"
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?P<y>\d{4})(?P<s>[-/.])(?P<m>\d{1,2})(?P=s)(?P<d>\d{1,2})",
        r"(?P<y>\d{4})(?P<m>[01]\d)(?P<d>[0-3]\d)",
        r"(?P<m>\d{1,2})(?P<s>[-/])(?P<d>\d{1,2})(?P=s)(?P<y>\d{4}|\d{2})",
        r"(?P<d>\d{1,2})(?P<s>[-/.])(?P<m>\d{1,2})(?P=s)(?P<y>\d{4}|\d{2})",
        _MONTH + r"\s+(?P<d>\d{1,2})(?P<o>st|nd|rd|th)?,?\s+(?P<y>\d{4})",
        r"(?P<d>\d{1,2})(?P<o>st|nd|rd|th)?(?:\s+of)?[\s-]+" + _MONTH + r",?[\s-]+(?P<y>\d{4})",
        r"(?P<y>\d{4})\s*年\s*(?P<m>\d{1,2})\s*月\s*(?P<d>\d{1,2})\s*[日号]",
        _MONTH + r"\s+(?P<d>\d{1,2})(?P<o>st|nd|rd|th)?",
        r"(?P<d>\d{1,2})(?P<o>st|nd|rd|th)?(?:\s+of)?\s+" + _MONTH,
    )
)
_TIME = re.compile(r"(?<!\d)(?P<h>[01]?\d|2[0-3])(?P<c>:)(?P<n>[0-5]\d)")
_YEAR = re.compile(r"(?<!\d)(?:1[89]|20)\d\d(?!\d)")
_NUMBER = re.compile(r"\d{1,3}(?!\d)")


def _find(value: str) -> tuple[re.Match[str], dt.date] | None:
    for pattern in _PATTERNS:
        match = pattern.search(value)
        if match is None:
            continue
        parts = match.groupdict()
        month = int(parts["m"]) if parts.get("m") else _MONTH_OF.get((parts.get("month") or "").casefold())
        year = int(parts["y"]) if parts.get("y") else 2001
        year += 0 if year > 99 else 2000 if year < 40 else 1900
        try:
            return match, dt.date(year, month or 0, int(parts["d"]))
        except ValueError:
            continue
    return None


def _ordinal(day: int) -> str:
    return "th" if 10 < day % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def _write(value: str, match: re.Match[str], date: dt.date) -> str:
    """`value` with the parts of the match replaced by those of `date`, each in its own width."""
    pieces: list[tuple[int, int, str]] = []
    for name, old in match.groupdict().items():
        if old is None or name == "s":
            continue
        if name == "y":
            new = f"{date.year:04d}"[-len(old) :]
        elif name == "o":
            new = _ordinal(date.day)
        elif name == "month":
            full = _MONTHS[date.month - 1]
            new = like_case(full[:3] if len(old) == 3 or old.casefold() == "sept" else full, old)
        else:
            number = date.month if name == "m" else date.day
            new = f"{number:02d}" if len(old) == 2 and (old[0] == "0" or number < 10) else str(number)
        pieces.append((match.start(name), match.end(name), new))
    for start, end, new in sorted(pieces, reverse=True):
        value = value[:start] + new + value[end:]
    return value


class DateTime:
    """Dates, times of day, years, months and weekdays. Words such as "yesterday" have no candidates."""

    def canonical(self, value: str) -> str:
        return plain_canonical(value)

    def candidates(self, value: str, draws: Draws) -> Iterator[str]:
        found = _find(value)
        if found is not None:
            match, date = found
            for probe in range(_PROBES):
                draw = draws.shared() if probe == 0 else draws.at(probe)
                days = draw.between(*_SHIFT_DAYS) * (1 if draw.below(2) else -1)
                try:
                    token = _write(value, match, date + dt.timedelta(days))
                except OverflowError:
                    continue
                if token != value:
                    yield _shift_times(token, draw.between(1, 1439))
            return
        for cycle in (_WEEKDAYS, _MONTHS):
            index = next((i for i, word in enumerate(cycle) if re.search(rf"\b{word}\b", value, re.IGNORECASE)), None)
            if index is not None:
                for choice in draws.order(len(cycle)):
                    if choice != index:
                        yield _replace_word(value, cycle[index], cycle[choice])
                return
        year = _YEAR.search(value)
        if year is not None:
            for choice in draws.order(24):
                shift = choice - 12 if choice < 12 else choice - 11
                yield value[: year.start()] + f"{int(year[0]) + shift:04d}" + value[year.end() :]
            return
        if _TIME.search(value) is not None:
            for minutes in draws.order(719):
                yield _shift_times(value, minutes + 1)

    def render(self, token: str, value: str) -> str:
        return like_case(token, value) if token.casefold() != token else token


def _replace_word(value: str, old: str, new: str) -> str:
    return re.sub(rf"\b{old}\b", lambda written: like_case(new, written[0]), value, flags=re.IGNORECASE)


def _shift_times(value: str, minutes: int) -> str:
    """Times of day later by `minutes`, within their half day where the hour is of a twelve-hour clock."""

    def shifted(match: re.Match[str]) -> str:
        total = int(match["h"]) * 60 + int(match["n"]) + minutes
        hour, minute = divmod(total % 1440, 60)
        if re.search(r"\b[ap]\.?m\b", value, re.IGNORECASE):
            hour = hour % 12 or 12
        return f"{hour:0{len(match['h'])}d}{match['c']}{minute:02d}"

    return _TIME.sub(shifted, value)


class Age:
    """An age of the same stage of life: under 18, 18 to 89, or above; the words around it stay."""

    def canonical(self, value: str) -> str:
        number = _NUMBER.search(value)
        return number[0] if number else plain_canonical(value)

    def candidates(self, value: str, draws: Draws) -> Iterator[str]:
        number = _NUMBER.search(value)
        if number is None:
            return
        age = int(number[0])
        low, high = (1, 17) if age < 18 else (18, 89) if age < 90 else (90, 109)
        for index in draws.order(high - low + 1):
            if low + index != age:
                yield str(low + index)

    def render(self, token: str, value: str) -> str:
        return _NUMBER.sub(token, value, count=1)


DATE_TIME = DateTime()
AGE = Age()
