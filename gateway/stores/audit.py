"""The audit log: one append-only stream, an admission and an outcome record a request.

A record that can't be written is an error, and an admission record that can't be written keeps the request from the model.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.errors import StoreUnavailable

STREAM = "llmos:audit"


class RedisAuditLog:
    """Appends to the stream `llmos:audit`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def admission(self, record: Mapping[str, object]) -> None:
        """Raises StoreUnavailable."""
        await self._append("admission", record)

    async def outcome(self, record: Mapping[str, object]) -> None:
        """Raises StoreUnavailable."""
        await self._append("outcome", record)

    async def _append(self, kind: str, record: Mapping[str, object]) -> None:
        try:
            await self._redis.xadd(STREAM, {"kind": kind, "record": orjson.dumps(record)})
        except (RedisError, OSError):
            raise StoreUnavailable("The audit log can't be written; what can't be audited is not served.") from None
