"""API keys in the store, under a keyed hash.

The key `llmos:key:<hash>` holds tenant, key id and role. The hash is HMAC-SHA-256 under a key that the store does not have, so
a copy of the store opens nothing. The key itself is never written.
"""

from __future__ import annotations

import hashlib
import hmac

from redis.asyncio import Redis
from redis.exceptions import RedisError
from redis.typing import EncodableT, FieldT

from gateway.errors import StoreUnavailable
from gateway.exchange import Principal


class RedisKeyStore:
    """Keys by hash. `hash_key` is 32 bytes."""

    def __init__(self, redis: Redis, hash_key: bytes) -> None:
        self._redis = redis
        self._hash_key = hash_key

    async def find(self, presented_key: str) -> Principal | None:
        """The key's principal, or None. Raises StoreUnavailable."""
        try:
            fields = await self._redis.hmget(self._name(presented_key), ["tenant", "key_id", "role"])
        except (RedisError, OSError):
            raise StoreUnavailable("The key store can't be reached; nothing was sent to the model.") from None
        tenant, key_id, role = (each.decode() if isinstance(each, bytes) else each for each in fields)
        if tenant is None or key_id is None:
            return None
        return Principal(tenant=tenant, key_id=key_id, role=role or "caller")

    async def add(self, key: str, principal: Principal) -> None:
        """Make `key` the principal's. Raises StoreUnavailable."""
        mapping: dict[FieldT, EncodableT] = {"tenant": principal.tenant, "key_id": principal.key_id, "role": principal.role}
        try:
            await self._redis.hset(self._name(key), mapping=mapping)
        except (RedisError, OSError):
            raise StoreUnavailable("The key store can't be reached; the key was not stored.") from None

    def _name(self, key: str) -> str:
        return "llmos:key:" + hmac.digest(self._hash_key, b"llmos/api-key/" + key.encode(), hashlib.sha256).hex()
