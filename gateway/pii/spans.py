"""From overlapping findings to sorted spans that don't overlap: neighbours joined, union, then one label by priority.

A span that is protected always wins over one that a policy allows, so that an allowed date next to a name cannot carry
the name through with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gateway.exchange import Span

# Labels from the most to the least specific; a policy's own entities stand before all of them.
PRIORITY: Sequence[str] = (
    "SECRET", "CREDIT_CARD", "IBAN_CODE", "CN_RESIDENT_ID", "CN_USCC", "CN_BANK_CARD", "CRYPTO", "EMAIL_ADDRESS", "US_SSN",
    "MAC_ADDRESS", "IP_ADDRESS", "PASSPORT", "CN_PASSPORT", "MEDICAL_RECORD", "LICENSE_NUMBER", "CN_LICENSE_PLATE", "CN_MOBILE",
    "DATE_OF_BIRTH", "STREET_ADDRESS", "PHONE_NUMBER", "URL", "AGE", "ZIP_CODE", "PERSON", "DATE_TIME", "ORGANIZATION", "GPE",
    "LOCATION",
)  # fmt: skip
_RANK: Mapping[str, int] = {entity: rank for rank, entity in enumerate(PRIORITY)}


def rank(entity: str) -> int:
    """Smaller is stronger; an entity that is not built in (a policy's own) is strongest."""
    return _RANK.get(entity, -1)


def join_names(text: str, findings: Iterable[Span]) -> list[Span]:
    """A span over each name whose words were found one by one, with a space between them."""
    joined: list[Span] = []
    last: Span | None = None
    for span in sorted((span for span in findings if span.entity == "PERSON"), key=lambda span: (span.start, -span.end)):
        if last is not None and span.start == last.end + 1 and text[last.end] == " ":
            last = Span(last.start, span.end, "PERSON", min(last.score, span.score))
            joined.append(last)
        elif last is None or span.end > last.end:
            last = span
    return joined


def unite(findings: Iterable[Span]) -> list[Span]:
    """Unite overlapping spans; a union carries the label and score of its strongest part (rank, then score, then length)."""
    united: list[Span] = []
    group: list[Span] = []
    end = -1
    for span in sorted(findings, key=lambda span: (span.start, -span.end)):
        if group and span.start >= end:
            united.append(_label(group, end))
            group = []
        end = max(end, span.end) if group else span.end
        group.append(span)
    if group:
        united.append(_label(group, end))
    return united


def _label(group: list[Span], end: int) -> Span:
    strongest = min(group, key=lambda span: (rank(span.entity), -span.score, span.start - span.end))
    return Span(group[0].start, end, strongest.entity, strongest.score)


def resolve(findings: Iterable[Span], allowed: frozenset[str]) -> tuple[Span, ...]:
    """Protected spans united; then the allowed ones, where they touch no protected span.

    Returns spans sorted by start that do not overlap. Every protected finding is covered by a protected span.
    """
    findings = list(findings)
    protected = unite(span for span in findings if span.entity not in allowed)
    free = []
    for span in unite(span for span in findings if span.entity in allowed):
        if not any(other.start < span.end and span.start < other.end for other in protected):
            free.append(span)
    return tuple(sorted((*protected, *free), key=lambda span: span.start))
