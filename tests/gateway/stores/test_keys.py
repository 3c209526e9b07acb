"""API keys: shown once, kept as a keyed hash, ended everywhere within a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gateway.errors import BadRequest, NotFound
from gateway.stores.keys import RECORDS, ValkeyKeys
from policies.schema import Limits

HASH_KEY = b"h" * 32


@pytest.fixture
async def keys(redis: Redis) -> AsyncIterator[ValkeyKeys]:
    async with ValkeyKeys(redis, HASH_KEY) as store:
        yield store


async def test_a_new_key_is_found_with_all_that_it_was_given(keys: ValkeyKeys) -> None:
    limits = Limits(requests_per_minute=5)
    key = await keys.create(tenant="acme", role="auditor", label="laptop", created_by="ann", models=("m*",), policies=("p",), limits=limits)
    principal = await keys.find(key.text)
    assert principal is not None
    assert (principal.tenant, principal.key_id, principal.role) == ("acme", key.key_id, "auditor")
    assert (principal.models, principal.policies, principal.limits) == (("m*",), ("p",), limits)


@pytest.mark.parametrize("wrong", ["", "llmos-", "x" * 10_000, "\ud800", "llmos-" + "A" * 43])
async def test_a_wrong_key_finds_nobody(keys: ValkeyKeys, wrong: str) -> None:
    await keys.create(tenant="acme", created_by="ann")
    assert await keys.find(wrong) is None


async def test_the_text_of_a_key_is_nowhere_in_the_store(keys: ValkeyKeys, redis: Redis) -> None:
    key = await keys.create(tenant="acme", created_by="ann")
    rotated = await keys.rotate(key.key_id, overlap_s=60)
    raw = b"".join([await redis.dump(name) async for name in redis.scan_iter()])  # type: ignore[misc]
    assert key.key_id.encode() in raw
    for text in (key.text, rotated.text):
        assert text.encode() not in raw
        assert text.removeprefix("llmos-").encode() not in raw
        assert text not in repr(key) + repr(rotated) + repr(await keys.get(key.key_id))


async def test_another_hash_key_finds_nobody(keys: ValkeyKeys, redis: Redis) -> None:
    key = await keys.create(tenant="acme", created_by="ann")
    async with ValkeyKeys(redis, b"i" * 32) as other:
        assert await other.find(key.text) is None


async def test_an_expired_key_finds_nobody_even_from_the_cache(redis: Redis) -> None:
    clock = [1000.0]
    async with ValkeyKeys(redis, HASH_KEY, now=lambda: clock[0]) as keys:
        key = await keys.create(tenant="acme", created_by="ann", lifetime_s=10)
        assert await keys.find(key.text) is not None
        clock[0] += 10
        assert await keys.find(key.text) is None
        assert (await keys.get(key.key_id)).state(clock[0]) == "expired"


async def test_a_rotation_overlaps_and_then_the_old_secret_ends(redis: Redis) -> None:
    clock = [1000.0]
    async with ValkeyKeys(redis, HASH_KEY, now=lambda: clock[0]) as keys:
        old = await keys.create(tenant="acme", created_by="ann")
        new = await keys.rotate(old.key_id, overlap_s=60)
        assert new.key_id == old.key_id
        assert await keys.find(old.text) == await keys.find(new.text) is not None
        clock[0] += 60
        assert await keys.find(old.text) is None
        assert await keys.find(new.text) is not None


async def test_a_second_rotation_does_not_lengthen_the_first_overlap(redis: Redis) -> None:
    clock = [1000.0]
    async with ValkeyKeys(redis, HASH_KEY, now=lambda: clock[0]) as keys:
        first = await keys.create(tenant="acme", created_by="ann")
        await keys.rotate(first.key_id, overlap_s=10)
        await keys.rotate(first.key_id, overlap_s=1000)
        clock[0] += 10
        assert await keys.find(first.text) is None


async def test_revoking_acts_on_the_other_replica_within_a_second(redis: Redis) -> None:
    async with ValkeyKeys(redis, HASH_KEY) as one, ValkeyKeys(redis, HASH_KEY) as two:
        key = await one.create(tenant="acme", created_by="ann")
        assert await two.find(key.text) is not None
        await one.revoke(key.key_id)
        assert await one.find(key.text) is None
        revoked_at = time.monotonic()
        while await two.find(key.text) is not None:
            assert time.monotonic() - revoked_at < 1.0
            await asyncio.sleep(0.005)
        with pytest.raises(BadRequest, match="revoked"):
            await two.rotate(key.key_id, overlap_s=1)


async def test_a_revocation_whose_message_is_lost_acts_within_the_age_of_the_cache(redis: Redis, keys: ValkeyKeys) -> None:
    key = await keys.create(tenant="acme", created_by="ann")
    assert await keys.find(key.text) is not None
    await redis.hset(RECORDS, key.key_id, (await keys.get(key.key_id)).to_json().replace('"revoked_unix_s": null', '"revoked_unix_s": 1'))
    await asyncio.sleep(1.05)
    assert await keys.find(key.text) is None


async def test_keys_are_listed_by_tenant(keys: ValkeyKeys) -> None:
    a = await keys.create(tenant="a", created_by="ann")
    b = await keys.create(tenant="b", created_by="ann")
    assert [record.key_id for record in await keys.all()] == [a.key_id, b.key_id]
    assert [record.key_id for record in await keys.all("b")] == [b.key_id]


async def test_an_unknown_role_or_key_is_refused(keys: ValkeyKeys) -> None:
    with pytest.raises(BadRequest, match="no role 'root'"):
        await keys.create(tenant="a", role="root", created_by="ann")
    with pytest.raises(NotFound):
        await keys.revoke("key_unknown")
