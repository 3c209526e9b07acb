"""The fuzz targets on bounded random input, and on everything that a fuzzer found before. `make fuzz` runs Atheris on the same targets."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, policy, restoring, sse

BOUNDED = settings(max_examples=150, deadline=None)
PARTS = [b"data: x", b"data:", b": c", b"event: y", b"\r\n", b"\n", b"\r", b"", b"\xef\xbb\xbf", b"data: " + b"z" * 70]
STANDINS = ["Xenia ", "Barlowe", "xenia.barlowe@", "example.net", "<PERSON_1", ">", "(201) 555-", "0118", " ", "王", "\u0130", "a"]
FIELDS = [
    *("id: a", "match: {models: [x]}", "entities: {PERSON: {action: surrogate}}", "extends: default", "dp: {}", "languages: [en]"),
    *("limits: {requests_per_minute: -1}", "response: {scan: 'off'}", "&a [*a]", "? {x: y}", "id: !!python/none", "\t", "---"),
]
FOUND = {"sse": [b"`\n\xa0`\n\xa0\xa0\rdata\n\xa0\r\n\n"]}  # what Atheris found, mended since


@pytest.mark.parametrize(("name", "data"), [(name, data) for name, inputs in FOUND.items() for data in inputs])
def test_what_was_found_stays_mended(name, data):
    TARGETS[name](data)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@given(data=st.binary(max_size=300))
@BOUNDED
def test_any_bytes(target, data):
    target(data)


@given(
    head=st.binary(min_size=8, max_size=8), lines=st.lists(st.sampled_from(PARTS)), join=st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n"])
)
@BOUNDED
def test_event_streams_cut_anywhere(head, lines, join):
    sse(head + join.join(lines))


@given(head=st.binary(min_size=8, max_size=8), words=st.lists(st.sampled_from(STANDINS)))
@BOUNDED
def test_answers_cut_anywhere(head, words):
    restoring(head + "".join(words).encode())


@given(lines=st.lists(st.sampled_from(FIELDS), max_size=6))
@BOUNDED
def test_policies_of_odd_parts(lines):
    policy("\n".join(lines).encode())
