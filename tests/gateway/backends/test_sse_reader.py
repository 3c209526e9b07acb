"""The reader of server-sent events against an independent reading, for every way of cutting."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backends.sse_reader import SseReader
from gateway.errors import UpstreamFailed

STREAM = (
    '\ufeff: hello\n\ndata: {"a": "李四 🙂"}\n\nevent: x\r\ndata: one\r\ndata: two\r\nid: 3\r\n\r\n'
    "data:three\r\rdata\n\n\n\ndata: [DONE]\n\n"
).encode()
EVENTS = ['{"a": "李四 🙂"}'.encode(), b"one\ntwo", b"three", b"", b"[DONE]"]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_cut_gives_the_same_events(cuts: list[int]) -> None:
    reader = SseReader()
    events = []
    at = 0
    for cut in [*sorted(cuts), len(STREAM)]:
        events += reader.feed(STREAM[at:cut])
        at = cut
    assert events == EVENTS


def test_single_bytes_give_the_same_events() -> None:
    reader = SseReader()
    assert [event for i in range(len(STREAM)) for event in reader.feed(STREAM[i : i + 1])] == EVENTS


@given(st.binary(max_size=200), st.integers(1, 7))
def test_it_never_fails_on_bytes_and_cuts_do_not_matter(data: bytes, step: int) -> None:
    one, many = SseReader(), SseReader()
    assert one.feed(data) == [event for i in range(0, len(data), step) for event in many.feed(data[i : i + step])]


def test_an_event_over_the_limit_is_an_error_and_not_memory() -> None:
    reader = SseReader(max_event_bytes=100)
    with pytest.raises(UpstreamFailed):
        reader.feed(b"data: " + b"x" * 200)
    reader = SseReader(max_event_bytes=100)
    with pytest.raises(UpstreamFailed):
        reader.feed(b"data: 1234567890\n" * 30)


def test_a_blank_line_after_a_cut_line_end_is_not_swallowed() -> None:
    reader = SseReader()
    assert [event for byte in b"data: x\r\n\n" for event in reader.feed(bytes([byte]))] == [b"x"]
