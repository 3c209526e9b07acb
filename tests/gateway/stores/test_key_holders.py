"""The announcements of workers on a real Valkey: what they say, what they never say, how long they stand."""

from __future__ import annotations

import base64
import os

import pytest
from redis.asyncio import Redis

from gateway.pii.keyring import KeyRing
from gateway.stores import key_holders
from gateway.stores.key_holders import KeyHolders


async def test_a_worker_is_known_while_it_serves_by_the_ids_of_its_keys(redis: Redis):
    ring, holders = KeyRing.generate(), KeyHolders(redis)
    async with holders.announced(ring.staged()), holders.announced(ring):
        found = await holders.all()
        assert sorted(sorted(holder.fingerprints) for holder in found) == [["k1"], ["k1", "k2"]]
        assert {holder.current_id for holder in found} == {"k1"}
        assert all(holder.worker.endswith(f":{os.getpid()}") for holder in found)
        assert all(holder.holds("k1", ring) for holder in found)
        [name] = [name for name in await redis.keys(f"{key_holders.PREFIX}*") if b"k2" not in await redis.get(name)]
        assert 0 < await redis.ttl(name) <= key_holders.LAPSE_S, "a killed worker is forgotten"
        said = await redis.get(name)
        for line in ring.text().split("\n")[:-1]:
            secret = base64.b64decode(line.split()[1])
            assert line.split()[1].encode() not in said
            assert secret.hex().encode() not in said
    assert await holders.all() == []


async def test_two_keys_that_were_given_one_id_are_told_apart(redis: Redis):
    ring, holders = KeyRing.generate(), KeyHolders(redis)
    here, there = ring.staged(), ring.staged()  # somebody rotated on each of two machines
    async with holders.announced(here):
        [holder] = await holders.all()
    assert holder.holds("k2", here)
    assert not holder.holds("k2", there)
    assert holder.holds("k1", there)


async def test_an_announcement_is_made_again_after_the_store_lost_it(redis: Redis, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(key_holders, "BEAT_S", 0.01)
    holders = KeyHolders(redis)
    async with holders.announced(KeyRing.generate()):
        await redis.flushall()
        for _ in range(500):
            if await holders.all():
                return
    pytest.fail("it was not announced again")
