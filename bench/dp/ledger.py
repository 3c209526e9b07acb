"""Reservations and settlements per second of the privacy ledger, and their p99, beside a plain INCRBY on the same store."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from gateway.dp.ledger import BudgetAccount
from gateway.dp.loss import Loss
from gateway.serving.valkey import EmbeddedValkey
from gateway.stores.ledger import RedisLedger
from policies.dp import Budget

CALLERS = 16
BUDGET = Budget(epsilon=1e6)


async def run(quick: bool) -> dict[str, Any]:
    """Operations per second and milliseconds at p50 and p99, of the ledger and of the store alone."""
    each = 50 if quick else 400
    with tempfile.TemporaryDirectory() as folder, EmbeddedValkey(Path(folder)) as store:
        redis = Redis.from_url(store.url, max_connections=CALLERS)
        ledger = RedisLedger(redis)

        async def pair(caller: int, turn: int) -> None:
            account = BudgetAccount("bench", f"k{caller % 4}", "p")
            await ledger.reserve(account, BUDGET, f"{caller}-{turn}", Loss(epsilon=1.0))
            await ledger.settle(account, BUDGET, f"{caller}-{turn}", Loss(epsilon=0.5))

        async def plain(caller: int, turn: int) -> None:
            await redis.incrby(f"bench:{caller % 4}", 2)
            await redis.incrby(f"bench:{caller % 4}", -1)

        results = {"incrby": await _measure(plain, each), "ledger": await _measure(pair, each)}
        await redis.aclose()
    for name, result in results.items():
        print(f"{name:7} {result['per_s']:8.0f} operations/s, pair p50 {result['p50_ms']:.2f} ms, p99 {result['p99_ms']:.2f} ms")
    return {**results, "ratio": results["ledger"]["per_s"] / results["incrby"]["per_s"], "callers": CALLERS}


async def _measure(work: Callable[[int, int], Awaitable[None]], each: int) -> dict[str, float]:
    times: list[float] = []

    async def caller(number: int) -> None:
        for turn in range(each):
            begun = time.perf_counter()
            await work(number, turn)
            times.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    total = time.perf_counter() - begun
    times.sort()
    return {
        "per_s": 2 * len(times) / total,
        "p50_ms": 1e3 * times[len(times) // 2],
        "p99_ms": 1e3 * times[int(len(times) * 0.99)],
    }
