"""What noised statistics are made of in the store: the audit's outcome records of a day, and the releases that were drawn.

Implements `gateway.dp.analytics.KeptReleases`. A kept release has no end of life: drawing a day twice would cost twice.
It does not add noise.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import orjson
from redis.asyncio import Redis

from gateway.dp.analytics import DAY_S, Request
from gateway.stores.audit import ValkeyAudit
from gateway.stores.failures import reaching


class ValkeyReleases:
    """One hash a tenant: day to release."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def get(self, tenant: str, day: int) -> str | None:
        """Raises StoreUnavailable."""
        with reaching("read the statistics"):
            kept = await cast(Any, self._redis.hget(_key(tenant), str(day)))
        return None if kept is None else bytes(kept).decode()

    async def put_if_absent(self, tenant: str, day: int, release: str) -> str:
        """Raises StoreUnavailable."""
        with reaching("keep the statistics"):
            await cast(Any, self._redis.hsetnx(_key(tenant), str(day), release))
            return bytes(await cast(Any, self._redis.hget(_key(tenant), str(day)))).decode()


def _key(tenant: str) -> str:
    return f"llmos:statistics:{{{tenant}}}"


class AuditedOutcomes:
    """The outcome records of one day, read from the audit backwards until the day is past."""

    def __init__(self, audit: ValkeyAudit) -> None:
        self._audit = audit

    async def __call__(self, tenant: str, day: int) -> AsyncIterator[Request]:
        """In the order in which they were written. Raises StoreUnavailable."""
        found = []
        async for link in self._audit.newest(tenant):
            record = orjson.loads(link.record)
            received = record.get("received_unix_s")
            if record.get("kind") != "outcome" or not isinstance(received, int | float):
                continue
            if received < (day - 1) * DAY_S:
                break  # an answer takes minutes: a whole day of slack
            if day * DAY_S <= received < (day + 1) * DAY_S:
                found.append(Request(str(record.get("key_id", "")), str(record.get("api", "")), str(record.get("outcome", ""))))
        for request in reversed(found):
            yield request
