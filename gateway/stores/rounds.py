"""The state of federations, as their coordinators last told it: for administrators to look at, and nothing that serves reads it.

One hash, a federation's name to its JSON. It holds what a coordinator's status holds: stages, counts, measures, epsilons, the
names of institutions, refusals; no training text and no weights. A federation that is heard of no more is forgotten after a year.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from gateway.errors import NotFound
from gateway.stores.failures import reaching

ROUNDS = "llmos:rounds"
KEPT_S = 365 * 86_400.0


class ValkeyRounds:
    """Federations by name."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def put(self, federation: str, state: Mapping[str, Any]) -> None:
        """Raises StoreUnavailable."""
        with reaching("write the state of a federation"):
            await self._redis.hset(ROUNDS, federation, json.dumps({**state, "federation": federation, "told_unix_s": time.time()}))

    async def get(self, federation: str) -> dict[str, Any] | None:
        """None where it was never told of. Raises StoreUnavailable."""
        with reaching("read the state of a federation"):
            raw: Any = await self._redis.hget(ROUNDS, federation)
        return None if raw is None else dict(json.loads(raw))

    async def all(self) -> list[dict[str, Any]]:
        """By name. Raises StoreUnavailable."""
        with reaching("read the state of the federations"):
            raw: Any = await self._redis.hgetall(ROUNDS)
        states: list[dict[str, Any]] = [json.loads(entry) for entry in raw.values()]
        return sorted((s for s in states if s["told_unix_s"] > time.time() - KEPT_S), key=lambda s: str(s["federation"]))

    async def remove(self, federation: str) -> None:
        """Raises NotFound, StoreUnavailable."""
        with reaching("forget a federation"):
            removed = await self._redis.hdel(ROUNDS, federation)
        if not removed:
            raise NotFound(f"There is no federation {federation!r}.")
