"""The roster's adapter on a real Valkey: versions, pieces, deletion; and no name in the store's bytes."""

from __future__ import annotations

from pathlib import Path

from redis.asyncio import Redis

from gateway.pii.keyring import KeyRing
from gateway.pii.roster.current import Rosters, Stored
from gateway.pii.roster.index import build
from gateway.pii.roster.people import Person
from gateway.stores.roster import RedisRosterStore


def stored(version: str) -> Stored:
    return Stored(version, b"seal" + version.encode(), 5, 1, 1700000000.5)


async def test_a_version_serves_once_it_is_whole_and_the_old_one_ends(valkey: str) -> None:
    async with Redis.from_url(valkey) as redis:
        store = RedisRosterStore(redis)
        assert await store.stored("e") is None
        await store.replace("e", stored("v1"), [b"one", b"two"])
        assert await store.stored("e") == stored("v1")
        assert await store.read("e", "v1") == [b"one", b"two"]
        assert await redis.ttl("llmos:roster:e:v1") == -1
        await store.replace("e", stored("v2"), [b"three"])
        assert (await store.stored("e"), await store.read("e", "v2")) == (stored("v2"), [b"three"])
        assert 0 < await redis.ttl("llmos:roster:e:v1") <= 600
        assert await store.delete("e")
        assert not await store.delete("e")
        assert [name async for name in redis.scan_iter("llmos:roster:e*")] == []


async def test_the_store_holds_no_name_and_no_tenant(valkey: str, tmp_path: Path) -> None:
    async with Redis.from_url(valkey) as redis:
        rosters = Rosters(RedisRosterStore(redis), KeyRing.generate(), tmp_path)
        index = build([Person(("Sarah Canary",), numbers={"MEDICAL_RECORD": ("MR-4839201",)})], rosters.term_key("acme-tenant"))
        await rosters.put("acme-tenant", index, people=1)
        kept = b""
        async for name in redis.scan_iter("llmos:roster:*"):
            kept += name + (await redis.dump(name) or b"")
        assert kept
        for word in (b"canary", b"sarah", b"4839201", b"acme-tenant"):
            assert word not in kept.lower()
