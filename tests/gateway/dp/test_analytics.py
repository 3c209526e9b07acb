"""Noised statistics: contributions are bounded, a day is drawn once and paid once, and the noise has the declared scale."""

import math
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.audit.chain import AuditKeys
from gateway.dp.analytics import CATEGORIES, DAY_S, AnalyticsRule, Request, Statistics, noised_histogram
from gateway.errors import BadRequest, BudgetExceeded
from gateway.stores.audit import ValkeyAudit
from gateway.stores.ledger import RedisLedger
from gateway.stores.statistics import AuditedOutcomes, ValkeyReleases
from policies.dp import Budget, Window

TODAY = 20_000
SHARP = AnalyticsRule(epsilon=1e5, bound=10, budget=Budget(epsilon=2e5, window=Window(kind="rolling", seconds=3600)))


async def two_keys(tenant: str, day: int) -> AsyncIterator[Request]:
    for _ in range(50):
        yield Request("loud", "chat.completions", "ok")
    for outcome in ("ok", "rate_limit_exceeded"):
        yield Request("quiet", "chat.completions", outcome)
    yield Request("quiet", "something else", "ok")


def service(redis: Redis, rule: AnalyticsRule = SHARP) -> Statistics:
    return Statistics(two_keys, RedisLedger(redis), ValkeyReleases(redis), rule, lambda: TODAY * DAY_S + 5.0)


async def test_a_key_contributes_at_most_its_bound(redis: Redis, tenant: str) -> None:
    released = await service(redis).day(tenant, TODAY - 1)
    assert tuple(released) == CATEGORIES
    assert released["chat.completions:ok"] == 11
    assert released["chat.completions:other"] == 1
    assert released["embeddings:ok"] == 0


async def test_the_same_day_is_the_same_release_and_costs_once(redis: Redis, tenant: str) -> None:
    noisy = AnalyticsRule(epsilon=0.1, bound=10, budget=Budget(epsilon=0.15, window=Window(kind="rolling", seconds=3600)))
    first = await service(redis, noisy).day(tenant, TODAY - 1)
    assert await service(redis, noisy).day(tenant, TODAY - 1) == first
    with pytest.raises(BudgetExceeded):
        await service(redis, noisy).day(tenant, TODAY - 2)


async def test_a_day_that_is_not_over_is_not_released(redis: Redis, tenant: str) -> None:
    with pytest.raises(BadRequest):
        await service(redis).day(tenant, TODAY)


def test_the_scale_is_twice_the_bound_over_epsilon() -> None:
    rule = AnalyticsRule(epsilon=1.0, bound=5)
    many = [Request(f"k{i}", "chat.completions", "ok") for i in range(200)]
    drawn = [noised_histogram(many, rule)["chat.completions:ok"] - 200 for _ in range(3000)]
    # Discrete Laplace of scale b = 10: its deviation is close to sqrt(2) b, known from 3000 draws to 2 %; 12 % is six standard errors.
    assert statistics.pstdev(drawn) == pytest.approx(math.sqrt(2) * 10.0, rel=0.12)


async def test_outcomes_come_from_the_audit_of_that_day(redis: Redis, tenant: str, tmp_path: Path) -> None:
    async with ValkeyAudit(redis, AuditKeys.derive(bytes(32))) as audit:
        day = int(time.time() // DAY_S) - 1
        for received, kind in ((day * DAY_S + 1, "ok"), ((day + 1) * DAY_S + 1, "ok"), (day * DAY_S + 2, "client_gone")):
            await audit.outcome(
                {"tenant": tenant, "key_id": "k", "api": "chat.completions", "outcome": kind, "received_unix_s": float(received)}
            )
        found = [request async for request in AuditedOutcomes(audit)(tenant, day)]
    assert found == [Request("k", "chat.completions", "ok"), Request("k", "chat.completions", "client_gone")]
