"""Failed attempts to sign in, counted by where they come from.

What is kept is a count under a keyed hash of the network address, for a minute. It slows down guessing and keeps the audit
from being flooded; a key has 256 random bits, so no rate of guessing finds one. Behind a proxy all callers have its address.
"""

from __future__ import annotations

import hmac

from redis.asyncio import Redis

from gateway.errors import TooManyAttempts
from gateway.stores.failures import reaching

MAX_PER_MINUTE = 10
WINDOW_S = 60

_COUNT = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return count
"""


class ValkeyAttempts:
    """Counts failures; a success is never counted and never held back. Implements `gateway.ports.Attempts`."""

    def __init__(self, redis: Redis, hash_key: bytes) -> None:
        self._hash_key = hash_key
        self._count = redis.register_script(_COUNT)

    async def failed(self, source: str) -> None:
        """Count one failure. Raises TooManyAttempts past MAX_PER_MINUTE of them, StoreUnavailable."""
        name = "llmos:attempts:" + hmac.digest(self._hash_key, source.encode(), "sha256").hex()[:32]
        with reaching("count a failed attempt"):
            count = await self._count(keys=[name], args=[WINDOW_S])
        if count > MAX_PER_MINUTE:
            raise TooManyAttempts("Too many failed attempts from this address; wait a minute.", count=count, retry_after_s=float(WINDOW_S))
