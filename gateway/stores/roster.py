"""Rosters in Redis or Valkey: a hash that says which version serves, and a list of pieces for each version.

`llmos:roster:<entry>` has `version`, `seal`, `size`, `people`, `loaded`; `llmos:roster:<entry>:<version>` the pieces, at most 4 MiB each.
A new version is written whole before it serves; the old one stays ten minutes more for replicas that are reading it. What the bytes are
says gateway.pii.roster.index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from redis.asyncio import Redis

from gateway.pii.roster.current import Stored
from gateway.stores.failures import reaching

_PREFIX = "llmos:roster:"
_OLD_TTL_S = 600
_UNFINISHED_TTL_S = 3600  # a load that broke off leaves nothing behind

_SERVE = """
-- KEYS: the entry, the new pieces; ARGV: version, seal, size, people, loaded, prefix of pieces, ttl of the old ones
local old = redis.call('HGET', KEYS[1], 'version')
redis.call('PERSIST', KEYS[2])
redis.call('HSET', KEYS[1], 'version', ARGV[1], 'seal', ARGV[2], 'size', ARGV[3], 'people', ARGV[4], 'loaded', ARGV[5])
if old and old ~= ARGV[1] then redis.call('EXPIRE', ARGV[6] .. old, ARGV[7]) end
return 1
"""


class RedisRosterStore:
    """Implements gateway.pii.roster.current.RosterStore. `client` must not decode responses."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._serve = client.register_script(_SERVE)

    async def stored(self, entry: str) -> Stored | None:
        with reaching("read which roster serves"):
            raw: Any = await self._client.hgetall(_PREFIX + entry)
        if not raw:
            return None
        return Stored(raw[b"version"].decode(), raw[b"seal"], int(raw[b"size"]), int(raw[b"people"]), float(raw[b"loaded"]))

    async def read(self, entry: str, version: str) -> list[bytes]:
        pieces: list[bytes] = []
        with reaching("read a roster"):
            while (piece := await self._client.lindex(_pieces(entry, version), len(pieces))) is not None:
                pieces.append(cast(bytes, piece))  # one at a time: each within the store's time limit
        return pieces

    async def replace(self, entry: str, stored: Stored, pieces: Sequence[bytes]) -> None:
        name = _pieces(entry, stored.version)
        with reaching("write a roster"):
            for piece in pieces:
                await self._client.rpush(name, piece)
                await self._client.expire(name, _UNFINISHED_TTL_S)
            figures: list[str | bytes | int] = [stored.version, stored.seal, stored.size_bytes, stored.people, repr(stored.loaded_unix_s)]
            await self._serve(keys=[_PREFIX + entry, name], args=[*figures, _pieces(entry, ""), _OLD_TTL_S])

    async def delete(self, entry: str) -> bool:
        with reaching("delete a roster"):
            names: list[Any] = [name async for name in self._client.scan_iter(match=f"{_PREFIX}{entry}:*", count=1000)]
            there = await self._client.exists(_PREFIX + entry)
            await self._client.delete(_PREFIX + entry, *names)
        return bool(there)


def _pieces(entry: str, version: str) -> str:
    return f"{_PREFIX}{entry}:{version}"
