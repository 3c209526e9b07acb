"""An address that was found in parts, or in part, becomes one: its house number, unit, place and postcode join its street.

A street without its number, or with its town left beside it, still says where somebody lives, and a model reads one address better than
four stand-ins. The parts must stand side by side: nothing between them but white space, commas and a state's letters. It does NOT look for
addresses: some finding must have named a street.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway.exchange import Span

ADDRESS = "STREET_ADDRESS"
_PARTS = frozenset({ADDRESS, "GPE", "LOCATION", "ZIP_CODE"})
_GAP = re.compile(r"[\s,]{1,4}(?:[A-Z]{2}[\s,]{1,2})?")
_NUMBER_BEFORE = re.compile(r"(?<![\w.-])\d{1,6}[A-Za-z]?(?:[-/]\d{1,5})?,? $")
_LONGEST_NUMBER = 16
_UNIT = r"(?:apartment|apt|suite|ste|unit|flat|room|rm|floor|fl|bldg|building|p\.? ?o\.? box|box|lot|no|#)\.? ?#?[a-z]?\d{1,5}[a-z]?"
_CODE = r"(?:\d{5}-\d{4}|\d{4} ?[a-z]{2}|\d{2,3}[- ]\d{2,3}|\d{4,6}|[a-z]{1,2}\d[a-z\d]? ?\d[a-z]{2}|[a-z]\d[a-z] ?\d[a-z]\d)"
_TAIL = re.compile(rf"[\s,]{{1,3}}(?:[A-Za-z]{{2}}[\s,]{{1,2}})?(?:(?:{_UNIT})|{_CODE})(?![\w-])", re.IGNORECASE)


def join_addresses(text: str, findings: Iterable[Span]) -> list[Span]:
    """A span over each address whose findings leave something of it out; the findings themselves stay as they are."""
    found = sorted((span for span in findings if span.entity in _PARTS), key=lambda span: (span.start, -span.end))
    joined = []
    at = 0
    while at < len(found):
        first = found[at]
        at += 1
        if first.entity != ADDRESS:
            continue
        start, end, score = first.start, first.end, first.score
        number = _NUMBER_BEFORE.search(text, max(0, start - _LONGEST_NUMBER), start)
        if number and not text[start].isdigit():
            start = number.start()
        while True:
            if at < len(found) and (found[at].start <= end or _GAP.fullmatch(text, end, found[at].start)):
                end = max(end, found[at].end)
                at += 1
            elif tail := _TAIL.match(text, end):
                end = tail.end()
            else:
                break
        if (start, end) != (first.start, first.end):
            joined.append(Span(start, end, ADDRESS, score))
    return joined
