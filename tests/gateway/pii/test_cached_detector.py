"""The detector that remembers: each turn of a conversation pays for its new text only, and the cache holds no text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.errors import DetectorFailed
from gateway.exchange import Span
from gateway.pii.cached_detector import CachedDetector
from gateway.pii.roster.current import RosterFile
from gateway.stores.span_cache import RedisSpanCache
from policies.schema import Action, EntityRule, Policy

POLICY = Policy(id="x", entities={"PERSON": EntityRule()})
KEY = bytes(range(32))


class Counting:
    """Finds "Connor", and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails = False

    async def detect(self, texts: Sequence[str], policy: Policy, *, roster: object = None) -> list[tuple[Span, ...]]:
        if self.fails:
            raise DetectorFailed("down")
        self.asked += texts
        found = [text.find("Connor") for text in texts]
        return [(Span(at, at + 6, "PERSON", 1.0),) if at >= 0 else () for at in found]


class OneRoster:
    """The tenant `clinic` has a roster."""

    async def current(self, tenant: str) -> RosterFile | None:
        return RosterFile(Path("/nowhere"), "v1", KEY) if tenant == "clinic" else None


async def test_each_turn_pays_for_its_new_text_only() -> None:
    behind = Counting()
    detector = CachedDetector(behind, None, key=KEY)
    turns = ["I am Connor", "Hello", "I am Connor", "And who is Connor?"]
    for count in range(1, len(turns) + 1):
        spans = await detector.detect(turns[:count], POLICY)
        assert [len(each) for each in spans] == [1, 0, 1, 1][:count]
    assert behind.asked == ["I am Connor", "Hello", "And who is Connor?"]


async def test_another_process_finds_the_spans_in_the_store_and_the_store_has_no_text(valkey: str) -> None:
    async with Redis.from_url(valkey) as redis:
        one, two = Counting(), Counting()
        first = await CachedDetector(one, RedisSpanCache(redis), key=KEY).detect(["I am Connor"], POLICY)
        assert await CachedDetector(two, RedisSpanCache(redis), key=KEY).detect(["I am Connor"], POLICY) == first
        assert two.asked == []
        for name in await redis.keys("*"):
            assert b"Connor" not in name + await redis.get(name)
            assert 0 < await redis.ttl(name) <= 3600
        await CachedDetector(two, RedisSpanCache(redis), key=bytes(32)).detect(["I am Connor"], POLICY)
        assert two.asked == ["I am Connor"], "another key finds nothing"


async def test_another_policy_is_another_entry() -> None:
    behind = Counting()
    detector = CachedDetector(behind, None, key=KEY)
    for policy in (POLICY, Policy(id="y", entities={"PERSON": EntityRule(score=0.9)})):
        await detector.detect(["I am Connor"], policy)
    assert behind.asked == ["I am Connor"] * 2
    await detector.detect(["I am Connor"], POLICY.model_copy(update={"id": "renamed"}))
    assert len(behind.asked) == 2, "what does not change detection does not empty the cache"


async def test_a_store_that_is_away_or_damaged_costs_time_and_no_safety(valkey: str) -> None:
    behind = Counting()
    async with Redis(unix_socket_path="/nowhere/valkey.sock") as away:
        spans = await CachedDetector(behind, RedisSpanCache(away), key=KEY).detect(["I am Connor"], POLICY)
    assert len(spans[0]) == 1
    async with Redis.from_url(valkey) as redis:
        await CachedDetector(behind, RedisSpanCache(redis), key=KEY).detect(["I am Connor"], POLICY)
        for name in await redis.keys("*"):
            await redis.set(name, b"\x01" + b"\xff" * 9 + b"\x06PERSON")
        behind.asked.clear()
        assert len((await CachedDetector(behind, RedisSpanCache(redis), key=KEY).detect(["I am Connor"], POLICY))[0]) == 1
    assert behind.asked == ["I am Connor"]


async def test_a_failure_is_not_remembered() -> None:
    behind = Counting()
    detector = CachedDetector(behind, None, key=KEY)
    behind.fails = True
    with pytest.raises(DetectorFailed):
        await detector.detect(["I am Connor"], POLICY)
    behind.fails = False
    assert len((await detector.detect(["I am Connor"], POLICY))[0]) == 1


async def test_detection_that_is_off_asks_nobody() -> None:
    behind = Counting()
    assert await CachedDetector(behind, None, key=KEY).detect(["I am Connor"], Policy(id="off")) == [()]
    assert behind.asked == []
    of_clinic = CachedDetector(behind, None, key=KEY, rosters=OneRoster())  # type: ignore[arg-type]
    assert await of_clinic.detect(["I am Connor"], Policy(id="off"), tenant="bank") == [()]
    assert len((await of_clinic.detect(["I am Connor"], Policy(id="off"), tenant="clinic"))[0]) == 1, (
        "the people of a roster are always found"
    )
    behind.asked.clear()
    allowed = Policy(id="allowed", entities={"PERSON": EntityRule(action=Action.ALLOW)})
    assert len((await CachedDetector(behind, None, key=KEY).detect(["I am Connor"], allowed))[0]) == 1
