"""Correlated randomness is used once: every way of asking twice, out of order or after a break is refused."""

import queue
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from mpc_inference import transport
from mpc_inference.errors import DeadlineExceeded, FrameInvalid, PeerUnavailable, ProtocolError, SessionLost
from mpc_inference.material import Store


class FakeLink:
    """The dealer's link, spoken to by a test."""

    def __init__(self) -> None:
        self._frames: queue.SimpleQueue[object] = queue.SimpleQueue()

    def deal(self, *frames: object) -> None:
        for frame in frames:
            self._frames.put(frame)

    def set_deadline(self, timeout_s: float | None) -> None:
        assert timeout_s is None

    def receive_control(self) -> dict[str, object]:
        got = self._frames.get()
        if isinstance(got, ProtocolError):
            raise got
        assert isinstance(got, dict)
        return got

    def receive(self, kind: int) -> bytearray:
        assert kind == transport.WORDS
        got = self._frames.get()
        assert isinstance(got, bytes)
        return bytearray(got)


def session(name: str, rows: int, prefix: int = 1) -> list[object]:
    frames: list[object] = [{"session": name, "prefix": prefix, "seed": "ab" * 16}]
    for i in range(rows):
        frames += [{"row": name, "position": prefix + i}, bytes([i])]
    return frames


@pytest.fixture
def dealt() -> tuple[FakeLink, Store]:
    link = FakeLink()
    store = Store(link, 0.3, lambda batch: [{} for _ in batch])  # type: ignore[arg-type]
    store.start()
    return link, store


def test_a_row_is_taken_once_and_in_order(dealt: tuple[FakeLink, Store]) -> None:
    link, store = dealt
    link.deal(*session("a", 3))
    assert store.claim(1) == "a"
    assert store.take("a", 1)[2].message.tolist() == [0]
    for position in (1, 3):  # again, and one too far
        with pytest.raises((SessionLost, DeadlineExceeded)):
            store.take("a", position)
    assert store.take("a", 2)[2].message.tolist() == [1]


def test_a_session_is_claimed_once(dealt: tuple[FakeLink, Store]) -> None:
    link, store = dealt
    link.deal(*session("a", 1), *session("b", 1))
    store.adopt("b")
    with pytest.raises(SessionLost):
        store.adopt("b")
    assert store.claim(1) == "a"
    with pytest.raises(DeadlineExceeded):
        store.claim(1)


def test_an_answer_is_taken_once(dealt: tuple[FakeLink, Store]) -> None:
    link, store = dealt
    link.deal({"answer": "x", "seed": "cd" * 16}, b"bundle", {"answer": "y", "seed": "ef" * 16}, b"other")
    assert store.claim_answer() == "x"
    assert store.take_answer("x").message.tobytes() == b"bundle"
    with pytest.raises(DeadlineExceeded):
        store.take_answer("x")
    assert store.take_answer("y").message.tobytes() == b"other"  # party 1: by name, claimed or not
    with pytest.raises(DeadlineExceeded):
        store.claim_answer()


def test_a_dropped_answer_is_gone_whether_it_has_arrived_or_not(dealt: tuple[FakeLink, Store]) -> None:
    link, store = dealt
    store.drop_answer("x")
    link.deal({"answer": "x", "seed": "cd" * 16}, b"bundle", {"answer": "y", "seed": "ef" * 16}, b"other")
    assert store.claim_answer() == "y"
    store.drop_answer("y")
    for name in "xy":
        with pytest.raises(DeadlineExceeded):
            store.take_answer(name)


def test_a_session_that_ended_is_gone(dealt: tuple[FakeLink, Store]) -> None:
    link, store = dealt
    link.deal(*session("a", 2))
    store.claim(1)
    store.take("a", 1)
    store.end("a")
    with pytest.raises(SessionLost):
        store.take("a", 2)


ASK: list[Callable[[Store], object]] = [
    lambda s: s.take("a", 1),
    lambda s: s.claim(1),
    lambda s: s.adopt("a"),
    lambda s: s.claim_answer(),
    lambda s: s.take_answer("x"),
]


@pytest.mark.parametrize("ask", ASK)
def test_a_broken_link_drops_everything(dealt: tuple[FakeLink, Store], ask: Callable[[Store], object]) -> None:
    link, store = dealt
    link.deal(*session("a", 2), {"answer": "x", "seed": "cd" * 16}, b"bundle")
    store.claim(1)
    link.deal(PeerUnavailable("gone"))
    until = time.monotonic() + 5
    while store.broken is None and time.monotonic() < until:
        time.sleep(0.01)
    with pytest.raises(SessionLost):
        ask(store)
    assert store.spare_tokens() == store.spare_answers() == 0


def test_a_waiter_is_told_at_once(dealt: tuple[FakeLink, Store]) -> None:
    link, store = dealt
    timer = threading.Timer(0.05, lambda: link.deal(PeerUnavailable("gone")))
    timer.start()
    with pytest.raises(SessionLost):
        store.claim_answer()


@pytest.mark.parametrize("frame", [{"row": "a", "position": 5}, {"surprise": 1}])
def test_a_dealer_out_of_order_ends_it(dealt: tuple[FakeLink, Store], frame: dict[str, object]) -> None:
    link, store = dealt
    link.deal(*session("a", 1), frame, b"row")
    until = time.monotonic() + 5
    while store.broken is None and time.monotonic() < until:
        time.sleep(0.01)
    assert isinstance(store.broken, FrameInvalid)


def test_work_ahead_is_done_on_arrival_for_several_together() -> None:
    link, sizes = FakeLink(), []

    def work(batch: object) -> list[dict[tuple[int, str], np.ndarray]]:
        sizes.append(len(batch))  # type: ignore[arg-type]
        return [{(0, "qkv"): np.array([d.position], np.uint64)} for d in batch]  # type: ignore[attr-defined]

    link.deal(*session("a", 12))
    store = Store(link, 2.0, work)  # type: ignore[arg-type]
    store.start()
    store.claim(1)
    assert [int(store.take("a", p)[2].products[0, "qkv"][0]) for p in range(1, 13)] == list(range(1, 13))
    assert sum(sizes) == 12
