"""A SuperNode asks often within a round and seldom when idle; the loop that it stands in is Flower's own."""

from __future__ import annotations

import inspect
import re

from flwr.supernode import start_client_internal

from federated_trainer.supernode import ASK_EVERY_S, IN_ROUND_S, REPLY_EVERY_S, RoundClock


class Time:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.waits: list[float] = []

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now_s += seconds

    def now(self) -> float:
        return self.now_s


def test_an_idle_node_keeps_flowers_pace_and_a_round_quickens_it() -> None:
    time = Time()
    clock = RoundClock(time.wait, time.now)
    clock.sleep(3)
    clock.sleep(0.5)  # a message is being worked on
    clock.sleep(3)
    assert time.waits == [3, REPLY_EVERY_S, ASK_EVERY_S]
    time.now_s += IN_ROUND_S
    clock.sleep(3)
    assert time.waits[-1] == 3


def test_flowers_loop_takes_sleep_alone_from_the_module_that_the_clock_replaces() -> None:
    """A version of Flower that waits in another way fails here, rather than in a federation."""
    source = inspect.getsource(start_client_internal)
    assert source.count("time.sleep(3)") == 1
    assert set(re.findall(r"\btime\.(\w+)\(", source)) == {"sleep"}
