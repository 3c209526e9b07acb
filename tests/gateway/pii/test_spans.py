"""From findings to spans: what is protected stays covered, spans never overlap, addresses and names become one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange import Span
from gateway.pii.address_parts import join_addresses
from gateway.pii.language_models import OVERLAP, WINDOW, windows
from gateway.pii.spans import PRIORITY, join_names, resolve

FINDINGS = st.lists(
    st.builds(
        lambda start, length, entity, score: Span(start, start + length, entity, score),
        st.integers(0, 60),
        st.integers(1, 20),
        st.sampled_from([*PRIORITY, "OWN"]),
        st.floats(0, 1),
    ),
    max_size=12,
)


@given(findings=FINDINGS, allowed=st.frozensets(st.sampled_from([*PRIORITY, "OWN"]), max_size=8))
def test_every_protected_finding_is_covered_and_spans_are_apart(findings: list[Span], allowed: frozenset[str]) -> None:
    spans = resolve(findings, allowed)
    assert all(left.end <= right.start for left, right in pairwise(spans))
    protected = {place for span in spans if span.entity not in allowed for place in range(span.start, span.end)}
    for finding in findings:
        if finding.entity not in allowed:
            assert protected.issuperset(range(finding.start, finding.end))


@given(length=st.integers(0, 4 * WINDOW), breaks=st.lists(st.integers(0, 4 * WINDOW), max_size=30))
def test_windows_cover_a_text_and_overlap(length: int, breaks: list[int]) -> None:
    text = bytearray(b"x" * length)
    for place in breaks:
        text[place : place + 1] = b"\n" if place < length else b""
    cut = list(windows(text.decode()))
    assert (cut[0][0], cut[-1][1]) == (0, length)
    assert all(end - start <= WINDOW for start, end in cut)
    assert all(right[0] <= max(left[1] - OVERLAP, left[0] + 1) for left, right in pairwise(cut))


def spans_of(text: str, **values: str) -> list[Span]:
    return [Span(text.index(value), text.index(value) + len(value), entity.rstrip("_"), 0.7) for entity, value in values.items()]


@pytest.mark.parametrize(
    ("text", "found", "address"),
    [
        ("12 Oak Street, Hull, IL 62704.", {"STREET_ADDRESS": "Oak Street", "GPE": "Hull"}, "12 Oak Street, Hull, IL 62704"),
        ("Weg 4\n50674 Köln\nDanke", {"STREET_ADDRESS": "Weg 4", "ZIP_CODE": "50674", "GPE": "Köln"}, "Weg 4\n50674 Köln"),
        ("5 High St, Flat 3, Leeds", {"STREET_ADDRESS": "5 High St", "GPE": "Leeds"}, "5 High St, Flat 3, Leeds"),
        ("Oak Street and Springfield", {"STREET_ADDRESS": "Oak Street", "GPE": "Springfield"}, None),
        ("Springfield, 62704", {"GPE": "Springfield", "ZIP_CODE": "62704"}, None),
    ],
)  # fmt: skip
def test_the_parts_of_an_address_are_one(text: str, found: dict[str, str], address: str | None) -> None:
    assert [text[span.start : span.end] for span in join_addresses(text, spans_of(text, **found))] == ([address] if address else [])


def test_words_of_a_name_that_were_found_apart_are_one() -> None:
    text = "Ann Lee Smith, Bob"
    found = [Span(0, 3, "PERSON", 0.6), Span(4, 7, "PERSON", 0.5), Span(8, 13, "PERSON", 0.9), Span(15, 18, "PERSON", 0.9)]
    assert join_names(text, found)[-1] == Span(0, 13, "PERSON", 0.5)
