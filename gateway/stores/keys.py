"""API keys in the store, and a cache of at most a second on every replica.

A presented key is hashed (`gateway.access.api_keys`), found by its hash in one round trip, compared in constant time
and checked for revocation and expiry at each use. Every change is published; the replica forgets the key at once. Where
the message is lost, the cache's own second bounds how long a revoked key still works. An unknown key is never cached.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.access.api_keys import MAX_KEY_CHARS, KeyHasher, NewKey, new_key_id, new_secret, same_hash
from gateway.access.roles import ROLES
from gateway.errors import BadRequest, NotFound
from gateway.exchange import Principal
from gateway.stores.failures import reaching
from policies.schema import Limits

RECORDS = "llmos:{keys}:records"
BY_HASH = "llmos:{keys}:by_hash"
CHANNEL = "llmos:keys"
MAX_CACHE_AGE_S = 1.0
MAX_CACHED_KEYS = 10_000

_FIND = """
local id = redis.call('HGET', KEYS[1], ARGV[1])
if not id then return false end
return redis.call('HGET', KEYS[2], id)
"""

_REPLACE = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
for i = 5, #ARGV do redis.call('HSET', KEYS[2], ARGV[i], ARGV[1]) end
redis.call('PUBLISH', ARGV[4], ARGV[1])
return 1
"""


@dataclass(frozen=True, slots=True)
class Secret:
    """One of a key's texts, by its hash; more than one stands while a rotation overlaps."""

    hash: str = field(repr=False)
    created_unix_s: float
    expires_unix_s: float | None = None


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as it is kept. `key_id` stays through rotations, and with it the key's conversations."""

    key_id: str
    tenant: str
    role: str
    label: str
    created_unix_s: float
    created_by: str
    models: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    expires_unix_s: float | None = None
    revoked_unix_s: float | None = None
    secrets: tuple[Secret, ...] = field(default=(), repr=False)

    @property
    def principal(self) -> Principal:
        return Principal(self.tenant, self.key_id, self.role, self.models, self.policies, self.limits)

    def state(self, now: float) -> str:
        """`active`, `revoked` or `expired`."""
        if self.revoked_unix_s is not None:
            return "revoked"
        return "expired" if self.expires_unix_s is not None and self.expires_unix_s <= now else "active"

    def accepts(self, presented_hash: str, now: float) -> bool:
        """Whether the hash is one of this key's living secrets. Looks at all of them whatever it finds."""
        living = [s for s in self.secrets if s.expires_unix_s is None or s.expires_unix_s > now]
        matches = [same_hash(secret.hash, presented_hash) for secret in living]
        return any(matches) and self.state(now) == "active"

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "limits": self.limits.model_dump()}, sort_keys=True)

    @classmethod
    def from_json(cls, raw: bytes | str) -> KeyRecord:
        plain = json.loads(raw)
        return cls(
            **{
                **plain,
                "models": tuple(plain["models"]),
                "policies": tuple(plain["policies"]),
                "limits": Limits.model_validate(plain["limits"]),
                "secrets": tuple(Secret(**secret) for secret in plain["secrets"]),
            }
        )


class ValkeyKeys:
    """API keys behind the port `KeyStore`, with their administration. Use as an async context manager."""

    def __init__(self, redis: Redis, hash_key: bytes, *, now: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._hash = KeyHasher(hash_key)
        self._now = now
        self._cache: dict[str, tuple[float, KeyRecord]] = {}
        self._find = redis.register_script(_FIND)
        self._replace = redis.register_script(_REPLACE)
        self._watcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> ValkeyKeys:
        self._watcher = asyncio.create_task(self._watch(), name="keys-watch")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        # asyncio.wait_for on Python 3.11 can swallow a cancellation that meets a result, so ask until it is done
        while self._watcher is not None and not self._watcher.done():
            self._watcher.cancel()
            await asyncio.wait({self._watcher}, timeout=0.1)

    def now(self) -> float:
        """Unix seconds by which keys expire."""
        return self._now()

    async def find(self, presented_key: str) -> Principal | None:
        """Whose key this is, or None for a key that is unknown, revoked or expired. Raises StoreUnavailable."""
        if not presented_key or len(presented_key) > MAX_KEY_CHARS:
            return None
        presented_hash = self._hash(presented_key)
        record = self._cached(presented_hash)
        if record is None:
            with reaching("look a key up"):
                raw = await self._find(keys=[BY_HASH, RECORDS], args=[presented_hash])
            if raw is None:
                return None
            record = KeyRecord.from_json(raw)
            if len(self._cache) >= MAX_CACHED_KEYS:
                self._cache.clear()
            self._cache[presented_hash] = (time.monotonic(), record)
        return record.principal if record.accepts(presented_hash, self._now()) else None

    async def create(
        self,
        *,
        tenant: str,
        role: str = "caller",
        label: str = "",
        created_by: str,
        models: tuple[str, ...] = (),
        policies: tuple[str, ...] = (),
        limits: Limits | None = None,
        lifetime_s: float | None = None,
        text: str | None = None,
    ) -> NewKey:
        """Make a key. `text` sets its secret by hand (a development key); else it is random. Raises BadRequest."""
        if role not in ROLES:
            raise BadRequest(f"There is no role {role!r}; roles: {', '.join(ROLES)}.", param="role")
        now = self._now()
        key = NewKey(new_key_id(), text or new_secret())
        record = KeyRecord(
            key_id=key.key_id,
            tenant=tenant,
            role=role,
            label=label,
            created_unix_s=now,
            created_by=created_by,
            models=models,
            policies=policies,
            limits=limits or Limits(),
            expires_unix_s=now + lifetime_s if lifetime_s is not None else None,
            secrets=(Secret(self._hash(key.text), now),),
        )
        with reaching("write a key"):
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(RECORDS, record.key_id, record.to_json())
                pipe.hset(BY_HASH, record.secrets[0].hash, record.key_id)
                await pipe.execute()
        return key

    async def get(self, key_id: str) -> KeyRecord:
        """Raises NotFound."""
        return KeyRecord.from_json(await self._raw(key_id))

    async def all(self, tenant: str | None = None) -> list[KeyRecord]:
        """Every key, or a tenant's, by time of creation; revoked and expired ones too."""
        with reaching("read the keys"):
            raw = await self._redis.hgetall(RECORDS)
        records = [KeyRecord.from_json(value) for value in raw.values()]
        return sorted((r for r in records if tenant in (None, r.tenant)), key=lambda r: (r.created_unix_s, r.key_id))

    async def rotate(self, key_id: str, *, overlap_s: float) -> NewKey:
        """A new secret for the key; the old ones work for `overlap_s` more. Raises NotFound, BadRequest."""
        text = new_secret()

        def rotated(record: KeyRecord) -> KeyRecord:
            now = self._now()
            if record.state(now) != "active":
                raise BadRequest(f"The key is {record.state(now)}; make a new one.")
            end = now + overlap_s
            old = [replace(s, expires_unix_s=min(end, s.expires_unix_s or end)) for s in record.secrets]
            living = [s for s in old if s.expires_unix_s is not None and s.expires_unix_s > now]
            return replace(record, secrets=(*living, Secret(self._hash(text), now)))

        await self._change(key_id, rotated)
        return NewKey(key_id, text)

    async def revoke(self, key_id: str) -> KeyRecord:
        """End a key on all replicas. Revoking it again changes nothing. Raises NotFound."""
        return await self._change(key_id, lambda r: r if r.revoked_unix_s is not None else replace(r, revoked_unix_s=self._now()))

    async def _change(self, key_id: str, change: Callable[[KeyRecord], KeyRecord]) -> KeyRecord:
        """Read, change, write if nobody else wrote between, and publish."""
        while True:
            raw = await self._raw(key_id)
            record = change(KeyRecord.from_json(raw))
            with reaching("change a key"):
                done = await self._replace(
                    keys=[RECORDS, BY_HASH], args=[key_id, raw, record.to_json(), CHANNEL, *(s.hash for s in record.secrets)]
                )
            if done:
                self._forget(key_id)
                return record

    async def _raw(self, key_id: str) -> bytes:
        with reaching("read a key"):
            raw = await self._redis.hget(RECORDS, key_id)
        if raw is None:
            raise NotFound(f"There is no key {key_id!r}.")
        return raw if isinstance(raw, bytes) else raw.encode()

    def _cached(self, presented_hash: str) -> KeyRecord | None:
        entry = self._cache.get(presented_hash)
        return entry[1] if entry is not None and time.monotonic() - entry[0] < MAX_CACHE_AGE_S else None

    def _forget(self, key_id: str) -> None:
        for presented_hash in [h for h, (_, record) in self._cache.items() if record.key_id == key_id]:
            del self._cache[presented_hash]

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(RedisError, OSError):  # while messages are missed, the cache's age bounds what they would say
                async with self._redis.pubsub() as subscription:
                    await subscription.subscribe(CHANNEL)
                    self._cache.clear()
                    while True:
                        message = await subscription.get_message(ignore_subscribe_messages=True, timeout=MAX_CACHE_AGE_S)
                        if message is not None:
                            self._forget(message["data"].decode())
            await asyncio.sleep(MAX_CACHE_AGE_S)
