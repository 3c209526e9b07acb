"""The cache: each distinct text is analysed once, and a damaged or foreign entry is never trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from gateway.errors import StoreUnavailable
from gateway.exchange import Span
from gateway.pii.cached_detector import CachedDetector
from gateway.pii.roster.current import RosterFile
from policies.schema import Action, EntityRule, Policy

KEY = b"k" * 32
POLICY = Policy(id="p", entities={"PERSON": EntityRule()})
SPANS = (Span(0, 3, "PERSON", 1.0),)


class Counting:
    """A detector that finds the first three characters of each text, and counts."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def detect(self, texts: Sequence[str], policy: Policy, *, roster: RosterFile | None = None) -> list[tuple[Span, ...]]:
        self.texts.extend(texts)
        return [SPANS for _ in texts]


class Shared:
    """A SpanCache in memory, which can be unreachable."""

    def __init__(self) -> None:
        self.entries: dict[bytes, tuple[Span, ...]] = {}
        self.fails = False

    async def get_many(self, keys: Sequence[bytes]) -> list[tuple[Span, ...] | None]:
        if self.fails:
            raise StoreUnavailable("down")
        return [self.entries.get(key) for key in keys]

    async def put_many(self, entries: Mapping[bytes, tuple[Span, ...]], ttl_s: int) -> None:
        if self.fails:
            raise StoreUnavailable("down")
        self.entries.update(entries)


async def test_each_distinct_text_is_analysed_once_over_processes() -> None:
    counting, shared = Counting(), Shared()
    assert await CachedDetector(counting, shared, key=KEY).detect(["Ann", "Bob", "Ann"], POLICY) == [SPANS] * 3
    assert counting.texts == ["Ann", "Bob"]
    assert await CachedDetector(counting, shared, key=KEY).detect(["Bob", "Cid"], POLICY) == [SPANS] * 2
    assert counting.texts == ["Ann", "Bob", "Cid"]


@pytest.mark.parametrize(
    "damaged", [(Span(0, 9, "PERSON", 1.0),), (Span(2, 1, "PERSON", 1.0),), (Span(0, 2, "X", 1.0), Span(1, 3, "X", 1.0))]
)
async def test_an_entry_that_does_not_fit_its_text_is_analysed_again(damaged: tuple[Span, ...]) -> None:
    counting, shared = Counting(), Shared()
    first = CachedDetector(counting, shared, key=KEY)
    shared.entries[first.key_of("Ann", POLICY)] = damaged
    assert await first.detect(["Ann"], POLICY) == [SPANS]


async def test_a_cache_that_is_down_costs_time_and_nothing_else() -> None:
    shared = Shared()
    shared.fails = True
    assert await CachedDetector(Counting(), shared, key=KEY).detect(["Ann"], POLICY) == [SPANS]


def test_a_key_depends_on_text_policy_secret_and_roster_and_does_not_show_the_text() -> None:
    detector = CachedDetector(Counting(), None, key=KEY)
    other_policy = POLICY.model_copy(update={"entities": {"PERSON": EntityRule(action=Action.MASK)}})
    rosters = [RosterFile(Path("x"), version, b"k" * 32) for version in ("v1", "v2")]
    keys = [
        detector.key_of("Ann", POLICY),
        detector.key_of("Bob", POLICY),
        detector.key_of("Ann", other_policy),
        *(detector.key_of("Ann", POLICY, roster) for roster in rosters),
        CachedDetector(Counting(), None, key=b"j" * 32).key_of("Ann", POLICY),
    ]
    assert len(set(keys)) == len(keys)
