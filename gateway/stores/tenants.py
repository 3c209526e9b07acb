"""What is known of a tenant beyond its keys: whether it is in production, and where its own labelled text lies.

A tenant without an entry is not in production. The labelled file stays on the gateway's machine; only its path is kept.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from redis.asyncio import Redis

from gateway.stores.failures import reaching

TENANTS = "llmos:tenants"


@dataclass(frozen=True, slots=True)
class Tenant:
    """`labelled_file` is a path on the gateway's machine: JSON lines as `llmos pii evaluate` reads them."""

    name: str
    production: bool = False
    labelled_file: str | None = None


class ValkeyTenants:
    """Tenants by name."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def put(self, tenant: Tenant) -> None:
        """Raises StoreUnavailable."""
        with reaching("write a tenant"):
            await self._redis.hset(TENANTS, tenant.name, json.dumps(asdict(tenant)))

    async def all(self) -> list[Tenant]:
        """By name. Raises StoreUnavailable."""
        with reaching("read the tenants"):
            raw: Any = await self._redis.hgetall(TENANTS)
        return sorted((Tenant(**json.loads(entry)) for entry in raw.values()), key=lambda tenant: tenant.name)
