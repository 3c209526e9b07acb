"""Opens the pool of connections to the store, and refuses a store that would lose what it is given.

A store that evicts keys could drop a conversation's vault entries or a privacy budget, and a replica takes no writes; both are
misconfigurations that show only later, so they are looked for at start and at each readiness check. It does not check that the store
writes to a disk: what is lost with its memory is told in docs/operations.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.errors import StoreUnavailable
from gateway.stores.failures import reaching

SAFE_EVICTION_POLICY = "noeviction"


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Where the store is, and by which certificates it is known (for rediss:// only)."""

    url: str = field(repr=False)  # may hold a password
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def tls(self) -> dict[str, Any]:
        """What redis-py takes for a rediss:// URL. The server's name is always checked."""
        if not self.url.startswith("rediss://"):
            return {}
        files = {"ssl_ca_certs": self.ca_file, "ssl_certfile": self.cert_file, "ssl_keyfile": self.key_file}
        return {"ssl_check_hostname": True, **{name: str(path) for name, path in files.items() if path is not None}}


def connect(address: StoreAddress, *, timeout_s: float, max_connections: int) -> Redis:
    """A client whose callers wait for a free connection, `timeout_s` at most, instead of failing at the limit."""
    pool = BlockingConnectionPool.from_url(
        address.url,
        max_connections=max_connections,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 1),
        **address.tls(),
    )
    return Redis.from_pool(pool)


async def check_fitness(redis: Redis) -> None:
    """Raises StoreUnavailable where the store can't be reached, is a replica, or may evict keys."""
    with reaching("tell how it is set up (the command INFO must be allowed)"):
        found: dict[str, Any] = {**await redis.info("memory"), **await redis.info("replication")}
    if found.get("role") != "master":
        raise StoreUnavailable("The store is a read-only replica; LLMOS_REDIS_URL must name the primary.")
    policy = found.get("maxmemory_policy")
    if policy != SAFE_EVICTION_POLICY:
        raise StoreUnavailable(
            f"The store's maxmemory-policy is {policy}: it could drop vault entries and budgets. "
            f"Set it to {SAFE_EVICTION_POLICY} (CONFIG SET maxmemory-policy {SAFE_EVICTION_POLICY}, and in its configuration file)."
        )
