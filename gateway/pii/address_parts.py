"""An address that was found in parts, or in part, becomes one: its house number, unit, place and postcode join its street.

A street without its number, or with its town left beside it, still says where somebody lives, and a model reads one address better than
four stand-ins. The parts must stand side by side: nothing between them but white space, commas, brackets and a state's letters. A town that
was taken for a person or a body joins too, where a postcode, a state or another place follows it. It does NOT look for addresses: some
finding must have named a street.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway.exchange import Span

ADDRESS = "STREET_ADDRESS"
_PARTS = frozenset({ADDRESS, "GPE", "LOCATION", "ZIP_CODE"})
_MISTAKEN = frozenset({"PERSON", "ORGANIZATION"})
_GAP = re.compile(r"[\s,;()/–-]{1,6}(?:[A-Z]{2,3}[\s,]{1,4})?")
_CROSSING = re.compile(r" (?:and|&|at|/|und|et|y|with) ")  # two streets that meet are one place
_CORNER = re.compile(r"\b(?:the )?(?:corner|intersection|junction|crossing) of $", re.IGNORECASE)
_BEFORE = re.compile(  # a house number, a unit
    r"(?<![\w.-])(?:(?i:h\. ?no|house no|plot(?: no)?|door no|flat|studio|apartment|apt|unit|suite|ste|shop|room|"
    r"block)\.? ?#?\d{1,5}[A-Za-z]?(?:,\s?|\s){1,2})?"
    r"(?:\d{1,6}[A-Za-z]?(?:[-/]\d{1,5}[A-Za-z]?)?,?\s{1,2})?$"
)
_LONGEST_BEFORE = 32
# What a part of a house is called, on both sides of the Atlantic and elsewhere: flat, floor, stair, door
UNIT_WORDS = (
    r"apartment|apt|suite|ste|unit|flat|room|rm|floor|fl|bldg|building|block|lot|p\.? ?o\.? ?box|box|studio|"
    r"piso|puerta|pta|edif|edificio|depto|dpto|dto|departamento|interior|int|torre|apto|apartamento|bloque|escalera|esc|"
    r"appartamento|piano|interno|scala|bloco|sala|andar|bl|sc|ap|et|nr|étage|bât|appt|appartement|wohnung|whg|top|stiege|tür"
)
_UNIT = (
    rf"(?:{UNIT_WORDS}|no|#)\.? ?#?[a-z]?\d{{1,5}}[a-z]?|\d{{1,2}}(?:st|nd|rd|th) floor|\d{{1,3}} ?[º°ª](?: [a-z]\b)?|"
    r"\d{1,2}\. ?(?:og|etg|tv|th|sal|patro|stock|etage)"
)
_CODE = (
    r"(?:[a-z]{1,2}[ -])?(?:\d{5}-\d{3,4}|\d{4}-\d{3}|\d{4} ?[a-z]{2}|\d{2,3}[- ]\d{2,3}|\d{4,8}|[a-z]{1,2}\d[a-z\d]? ?\d[a-z]{2}|"
    r"[a-z]\d[a-z] ?\d[a-z]\d|[a-z]\d[\dw] ?[a-z\d]{4})"
)
_TAIL = re.compile(
    rf"(?:[\s,]{{1,5}}(?:[A-Za-z]{{2,3}}[\s,]{{1,4}})?(?:(?:{_UNIT})|{_CODE})| ?[-–/] ?(?:\d{{5,6}}|[A-Z]{{2}}))(?![\w-])", re.IGNORECASE
)
_HOUSE_NUMBER = re.compile(r"[ ,]{1,2}(?:n[º°or.]{0,2}\.? ?|# ?)?\d{1,4}[a-z]?(?:[-/]\d{1,4}[a-z]?)?(?![\w-])", re.IGNORECASE)
_WORD = r"[^\W\d_a-zà-ÿ][^\W\d_]*(?:[.'’-]+[^\W\d_]+)*\.?"
# A town that no finding names: "\nAlmere Stad\nFlevoland 1312 AB", "\nVILA NOVA, 4400-123"
_TOWN = re.compile(
    rf"[ \t]*(?:[,;][\s]{{0,3}}|"
    rf"\n[\s]{{0,2}})(?:{_WORD})(?: (?:[a-zà-ÿ']{{1,3}} ){{0,2}}{_WORD}){{0,4}}(?=,?[\s(]{{1,3}}(?:[A-Z]{{2}}[\s,]{{1,3}})?(\d|"
    rf"[A-Z]{{1,2}}\d))"
)
_LOWER_TOWN = re.compile(
    r"[ ,]{1,2}[a-z][a-z'-]{1,30}(?: [a-z'-]{1,30}){0,2}(?=,? (?:[a-z]{1,2}\d[a-z\d]? ?\d[a-z]{2}|[a-z]{2},? \d{5})\b)"
)  # bristol bs1 5ty
_CODE_NEXT = re.compile(rf"[\s,]{{1,4}}(?:[A-Za-z]{{2}}[\s,]{{1,3}})?{_CODE}(?![\w-])", re.IGNORECASE)
_PROVINCE = re.compile(r" ?\([A-Z][\w .'-]{1,30}\)")  # "Bagnolo (RO)", "Slovakia (Slovak Republic)"


def join_addresses(text: str, findings: Iterable[Span]) -> list[Span]:
    """A span over each address whose findings leave something of it out; the findings themselves stay as they are."""
    found = sorted(
        (span for span in findings if span.entity in _PARTS or span.entity in _MISTAKEN), key=lambda span: (span.start, -span.end)
    )
    joined = []
    at = 0
    while at < len(found):
        first = found[at]
        at += 1
        if first.entity != ADDRESS:
            continue
        start, end, score = first.start, first.end, first.score
        before = _BEFORE.search(text, max(0, start - _LONGEST_BEFORE), start)
        if before and (not text[start].isdigit() or before[0][:1].isalpha()):
            start = before.start()
        if at > 1 and found[at - 2].entity in _PARTS and found[at - 2].end == start and "\u3400" <= text[start] <= "\u9fff":
            start = found[at - 2].start  # 上海静安区南京西路1266号
        if corner := _CORNER.search(text, max(0, start - _LONGEST_BEFORE), start):
            start = corner.start()
        while True:
            if at < len(found) and found[at].entity in _MISTAKEN and found[at].end <= end:
                at += 1
            elif at < len(found) and _continues(text, end, found, at):
                end = max(end, found[at].end)
                at += 1
            elif tail := _tail(text, start, end):
                end = tail.end()
            elif (town := _TOWN.match(text, end) or _LOWER_TOWN.match(text, end)) and _CODE_NEXT.match(text, town.end()):
                end = town.end()
            else:
                break
        if (start, end) != (first.start, first.end):
            joined.append(Span(start, end, ADDRESS, score))
    return joined


def _tail(text: str, start: int, end: int) -> re.Match[str] | None:
    """What goes on with the address [start, end) and no finding names: a house number, where it has none, a unit, a code, a province."""
    if not any(map(str.isdigit, text[start:end])) and (number := _HOUSE_NUMBER.match(text, end)):
        return number
    return _TAIL.match(text, end) or _PROVINCE.match(text, end)


def _continues(text: str, end: int, found: list[Span], at: int) -> bool:
    """Whether finding `at` goes on with the address that ends at `end`."""
    span = found[at]
    if span.entity == ADDRESS and _CROSSING.fullmatch(text, end, span.start):
        return True
    if span.entity in _PARTS:
        return span.start <= end or _GAP.fullmatch(text, end, span.start) is not None
    if not (span.start <= end or re.fullmatch(r"[\s,]{1,4}", text[end : span.start])):
        return False
    following = found[at + 1] if at + 1 < len(found) else None
    return _CODE_NEXT.match(text, span.end) is not None or (
        following is not None and following.entity in _PARTS and _GAP.fullmatch(text, span.end, following.start) is not None
    )
