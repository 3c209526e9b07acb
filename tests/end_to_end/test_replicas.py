"""Two gateways on one store under load: a policy changed on one binds the other within a second; a store that is killed loses no record."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import redis as redis_sync
from redis.asyncio import Redis

from gateway.audit.chain import AuditKeys
from gateway.audit.verify import Report, verify_log
from gateway.pii.keyring import KeyRing
from gateway.serving.free_ports import free_ports
from gateway.serving.valkey import EmbeddedValkey
from gateway.stores.audit import SYSTEM_TENANT, ValkeyAudit
from gateway.stores.audit_files import HeadsFile
from gateway.stores.keys import ValkeyKeys

KEY = "sk-llmos-end-to-end"
TENANT = "local"
TEXT, MASKED = "I am Sarah Connor.", "I am ************."
POLICY = "id: local\nextends: default\nmatch: {tenants: [local]}\nentities: {PERSON: {action: mask}}\n"
CALLERS = 6  # at each replica
PATIENCE_S = 90.0  # for what takes a second on an idle machine


async def until(what: Callable[[], bool], text: str) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < end_s, text
        await asyncio.sleep(0.05)


@dataclass(frozen=True)
class Asked:
    """One request as its caller saw it."""

    began_s: float
    ended_s: float
    status: int
    request_id: str
    answer: str


@dataclass
class Load:
    """CALLERS callers at one gateway, each asking as soon as it was answered."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    stopping: bool = False

    async def caller(self, client: httpx.AsyncClient) -> None:
        body = {"model": "echo", "messages": [{"role": "user", "content": TEXT}]}
        while not self.stopping:
            began_s = time.monotonic()
            try:
                answer = await client.post(f"{self.url}/v1/chat/completions", json=body)
            except httpx.HTTPError as error:
                self.faults.append(type(error).__name__)
                continue
            text = answer.json()["choices"][0]["message"]["content"] if answer.status_code == 200 else answer.json()["error"]["code"]
            self.asked.append(Asked(began_s, time.monotonic(), answer.status_code, answer.headers["x-request-id"], text))
            if answer.status_code != 200:
                await asyncio.sleep(0.1)


@asynccontextmanager
async def under_load(urls: list[str]) -> AsyncIterator[list[Load]]:
    loads = [Load(url) for url in urls]
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {KEY}"}, timeout=60) as client:
        callers = [asyncio.create_task(load.caller(client)) for load in loads for _ in range(CALLERS)]
        try:
            yield loads
        finally:
            for load in loads:
                load.stopping = True
            await asyncio.wait_for(asyncio.gather(*callers), timeout=60)


@dataclass
class Deployment:
    """One store, the gateways on it, and what reads their audit."""

    store: EmbeddedValkey
    urls: list[str]
    ring: KeyRing
    heads: list[Path]

    async def audit(self) -> tuple[list[Report], list[dict[str, Any]]]:
        """Of the callers' tenant, and of the system: what was refused before its tenant was known."""
        keys = AuditKeys.derive(self.ring.index_key("audit"))
        async with Redis.from_url(self.store.url) as client:
            audit = ValkeyAudit(client, keys, heads_file=HeadsFile(self.heads[0]))
            reports, records = [], []
            for tenant in (TENANT, SYSTEM_TENANT):
                heads = await audit.heads(tenant)
                reports.append(await verify_log(tenant, audit.links(tenant), heads, keys.public, keys.tenant_key(tenant)))
                records += [orjson.loads(link.record) async for link in audit.links(tenant)]
            return reports, records

    async def admin_key(self) -> str:
        async with Redis.from_url(self.store.url) as client:
            keys = ValkeyKeys(client, self.ring.index_key("api-keys"))
            return (await keys.create(tenant="operations", role="admin", created_by="test")).text


@pytest.fixture
def deploy(echo: Any, serve: Callable[..., Any], tmp_path: Path) -> Iterator[Callable[..., Deployment]]:
    with ExitStack() as stack:

        def start(replicas: int, **settings: str) -> Deployment:
            store = stack.enter_context(EmbeddedValkey(tmp_path / "store"))
            master = tmp_path / "master.key"
            ring = KeyRing.load_or_create(master)
            urls, heads = [], []
            for number, port in enumerate(free_ports(replicas)):
                data_dir = tmp_path / f"replica-{number}"
                data_dir.mkdir()
                shared = {"LLMOS_REDIS_URL": store.url, "LLMOS_MASTER_KEY_FILE": str(master), **settings}
                urls.append(stack.enter_context(serve(echo.url, data_dir, port, **shared)).url)
                heads.append(data_dir / "audit" / "heads.jsonl")
            return Deployment(store, urls, ring, heads)

        yield start


async def test_a_policy_changed_on_one_replica_binds_the_other_within_a_second_and_no_request_is_lost(
    deploy: Callable[..., Deployment], echo: Any
) -> None:
    deployment = deploy(2)
    echo.bodies.clear()
    admin = {"authorization": f"Bearer {await deployment.admin_key()}"}
    async with under_load(deployment.urls) as (one, two), httpx.AsyncClient(headers=admin, timeout=60) as client:
        await until(lambda: bool(one.asked and two.asked), "a replica serves nothing")
        changing_s = time.monotonic()
        changed = await client.put(f"{one.url}/admin/v1/policies/local", json={"source": POLICY, "reason": "names may not be restored"})
        changed_s = time.monotonic()
        assert changed.status_code == 200, changed.text
        await until(lambda: sum(asked.began_s > changed_s + 1 for asked in two.asked) > CALLERS, "the other replica serves no more")
    for load in (one, two):
        assert load.faults == []
        assert {asked.status for asked in load.asked} == {200}, Counter(asked.answer for asked in load.asked)
    assert {asked.answer for asked in two.asked if asked.ended_s < changing_s} <= {TEXT}
    # No replica serves by policies that it read more than a second ago, however busy it is.
    assert {asked.answer for asked in two.asked if asked.began_s > changed_s + 1} == {MASKED}
    late_s = max((asked.began_s for asked in two.asked if asked.answer == TEXT), default=changed_s) - changed_s
    print(f"on the other replica the last request under the old policy began {late_s * 1e3:.0f} ms after the change was confirmed")
    assert "Sarah" not in b"".join(echo.bodies).decode()

    policies = {asked.request_id: "local" if "*" in asked.answer else "default" for load in (one, two) for asked in load.asked}
    recorded: dict[str, dict[str, Any]] = {}
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:  # the outcome of the last answers is written just after they went out
        reports, records = await deployment.audit()
        recorded = {kind: {r["request_id"]: r["policy"] for r in records if r["kind"] == kind} for kind in ("admission", "outcome")}
        if recorded["outcome"].keys() >= policies.keys():
            break
    assert all(report.holds for report in reports), reports
    assert recorded == {"admission": policies, "outcome": policies}


def kill(store: EmbeddedValkey) -> None:
    """SIGKILL, as the kernel's out-of-memory killer sends it."""
    with redis_sync.Redis.from_url(store.url) as client:
        os.kill(client.info("server")["process_id"], signal.SIGKILL)
    store.stop()


async def test_a_killed_store_fails_closed_recovers_by_itself_and_no_record_is_lost(deploy: Callable[..., Deployment], echo: Any) -> None:
    deployment = deploy(1)
    echo.bodies.clear()
    async with under_load(deployment.urls) as (load,):
        await until(lambda: len(load.asked) > CALLERS, "nothing is served")
        await asyncio.to_thread(kill, deployment.store)
        killed_s = time.monotonic()
        await until(lambda: sum(asked.began_s > killed_s for asked in load.asked) > CALLERS, "without a store no request ends")
        still_away_s = time.monotonic()
        await asyncio.to_thread(deployment.store.start)
        restarted_s = time.monotonic()
        newest = slice(-3 * CALLERS, None)
        await until(
            lambda: all(asked.began_s > restarted_s and asked.status == 200 for asked in load.asked[newest]), "it does not serve again"
        )
    assert load.faults == []
    assert {(asked.status, asked.answer) for asked in load.asked} == {(200, TEXT), (503, "store_unavailable")}
    while_away = [asked for asked in load.asked if killed_s < asked.began_s and asked.ended_s < still_away_s]
    assert while_away
    assert {asked.status for asked in while_away} == {503}, "what can't be audited is not served"
    assert "Sarah" not in b"".join(echo.bodies).decode()

    reports, records = await deployment.audit()
    deadline = time.monotonic() + PATIENCE_S
    refused = {asked.request_id for asked in load.asked if asked.status == 503}
    everyone = {asked.request_id for asked in load.asked}
    while everyone - {r.get("request_id") for r in records if r["kind"] == "outcome"} and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
        reports, records = await deployment.audit()
    assert all(report.holds for report in reports), reports
    admitted = {record["request_id"] for record in records if record["kind"] == "admission"}
    ended = {record["request_id"]: record["outcome"] for record in records if record["kind"] == "outcome"}
    served = {asked.request_id for asked in load.asked if asked.status == 200}
    assert served <= admitted
    assert {ended.get(each) for each in served} == {"ok"}
    assert {ended.get(each) for each in refused} == {"store_unavailable"}
    assert len(admitted) >= len(echo.bodies), "nothing went upstream without its admission record"
    print(json.dumps({"served": len(served), "refused": len(refused), "spooled": sum(bool(r.get("spooled")) for r in records)}))
