"""Which master keys each running gateway worker holds: ids and fingerprints, never a byte of a key.

A worker announces itself before it serves, and again every few seconds; `llmos keyring` asks before it writes under a key or takes one
away. It does NOT know of a worker that could not reach the store for LAPSE_S: such a one answers 503 for conversations under a key
that it lacks, until it has read the ring again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

from redis.asyncio import Redis

from gateway.errors import StoreUnavailable
from gateway.pii.keyring import KeyRing
from gateway.stores.failures import reaching

PREFIX = "llmos:key-holders:"
BEAT_S = 5.0
LAPSE_S = 30  # a worker that was killed counts so long


@dataclass(frozen=True, slots=True)
class Holder:
    """A worker (`host:pid`), the fingerprints of its keys by id, and the id of the key that it writes under."""

    worker: str
    fingerprints: Mapping[str, str]
    current_id: str

    def holds(self, key_id: str, ring: KeyRing) -> bool:
        """Whether the worker has this very key of the ring: two rings may have given one id to two keys."""
        return self.fingerprints.get(key_id) == ring.fingerprints[key_id]


class KeyHolders:
    """The announcements of all workers that share the store."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    @asynccontextmanager
    async def announced(self, ring: KeyRing) -> AsyncIterator[None]:
        """While a worker serves with this ring. Raises StoreUnavailable at the first announcement only."""
        name = PREFIX + secrets.token_hex(8)
        holder = Holder(f"{socket.gethostname()}:{os.getpid()}", ring.fingerprints, ring.current_id)
        await self._announce(name, holder)
        beat = asyncio.create_task(self._beat(name, holder), name="key-holder")
        try:
            yield
        finally:
            beat.cancel()
            await asyncio.wait({beat})
            with contextlib.suppress(StoreUnavailable), reaching("take an announcement back"):
                await self._redis.delete(name)

    async def all(self) -> list[Holder]:
        """The workers that announced themselves of late, by name. Raises StoreUnavailable."""
        with reaching("tell which workers run"):
            names = [name async for name in self._redis.scan_iter(match=f"{PREFIX}*", count=500)]
            found = await self._redis.mget(names) if names else []
        return sorted((Holder(**json.loads(raw)) for raw in found if raw is not None), key=lambda holder: holder.worker)

    async def _announce(self, name: str, holder: Holder) -> None:
        with reaching("take the announcement of a worker"):
            await self._redis.set(name, json.dumps(asdict(holder)), ex=LAPSE_S)

    async def _beat(self, name: str, holder: Holder) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            with contextlib.suppress(StoreUnavailable):
                await self._announce(name, holder)
