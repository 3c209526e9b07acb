"""The patterns that an answer is scanned for where the policy says `patterns`.

Each pattern is RE2 (linear time), and has a check where one exists, so that a number in an answer is masked only if it is one. They are
the shapes that identify by themselves; names and places need `ner`. It does NOT find what is spelled out or split by other words.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence

import re2

from gateway.exchange import Span
from gateway.pii.surrogates.base import digits_of
from gateway.pii.surrogates.numbers import iban_valid, luhn_valid, resident_check


def _card(text: str) -> bool:
    return 13 <= len(digits_of(text)) <= 19 and luhn_valid(digits_of(text))


def _ssn(text: str) -> bool:
    digits = digits_of(text)
    return digits[:3] not in ("000", "666") and digits[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"


def _iban(text: str) -> bool:
    return iban_valid(text.replace(" ", ""))


def _resident(text: str) -> bool:
    return resident_check(text[:17]) == text[17].upper()


def _ip(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False


def _always(text: str) -> bool:
    return True


# (entity, pattern with its value in group 1, check of the value); tried in this order, an earlier one keeps its place
_TABLE: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    ("SECRET", r"(-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\z))", _always),
    ("EMAIL_ADDRESS", r"\b([A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63}){1,4})\b", _always),
    ("SECRET", r"\b([a-z][a-z0-9+.\-]{1,12}://[^\s/:@]{1,64}:[^\s/@]{1,64}@[^\s]{1,120})", _always),
    ("SECRET", r"\b(eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)*)", _always),
    (
        "SECRET",
        r"\b((?:sk-(?:proj-|ant-)?|[sr]k_live_|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|hf_)[A-Za-z0-9_\-]{16,200}"
        r"|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_\-]{35})",
        _always,
    ),
    ("IBAN_CODE", r"\b([A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?)\b", _iban),
    ("CN_RESIDENT_ID", r"(?:^|[^0-9])([1-9][0-9]{5}(?:19|20)[0-9]{2}[01][0-9][0-3][0-9]{4}[0-9Xx])", _resident),
    ("CREDIT_CARD", r"(?:^|[^0-9.\-])([0-9]{4}(?:[ \-]?[0-9]{3,6}){2,4})\b", _card),
    ("US_SSN", r"(?:^|[^0-9\-])([0-9]{3}-[0-9]{2}-[0-9]{4})(?:$|[^0-9\-])", _ssn),
    ("CN_MOBILE", r"(?:^|[^0-9])(1[3-9][0-9]{9})(?:$|[^0-9])", _always),
    (
        "PHONE_NUMBER",
        r"(?:^|[^0-9+])(\+[1-9][0-9]{0,2}(?:[ .\-]?\(?[0-9]{1,4}\)?){2,5}"
        r"|\(?[2-9][0-9]{2}\)?[ .\-][2-9][0-9]{2}[ .\-][0-9]{4})\b",
        _always,
    ),
    ("IP_ADDRESS", r"(?:^|[^0-9.])((?:[0-9]{1,3}\.){3}[0-9]{1,3})\b", _ip),
)
_COMPILED = tuple((entity, re2.compile(pattern), check) for entity, pattern, check in _TABLE)


def find_patterns(text: str) -> Sequence[Span]:
    """The spans of the table in a text, sorted, not overlapping."""
    spans: list[Span] = []
    for entity, pattern, check in _COMPILED:
        for match in pattern.finditer(text):
            start, end = match.span(1)
            if check(match[1]) and not any(start < span.end and span.start < end for span in spans):
                spans.append(Span(start, end, entity, 1.0))
    return sorted(spans, key=lambda span: span.start)
