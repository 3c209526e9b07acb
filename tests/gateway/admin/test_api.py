"""The admin API: who may what, edits that don't overwrite each other, and an audit that stands before each act."""

from __future__ import annotations

import asyncio
import datetime
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from gateway.access.roles import PERMISSIONS, Permission
from gateway.admin.keys import create_key, put_tenant
from gateway.admin.parts import AdminParts
from gateway.admin.policies import apply_policy
from gateway.admin.privacy import erase_tenant
from gateway.audit.chain import public_key_from_text
from gateway.audit.verify import verify_export
from gateway.errors import BadRequest, InvalidPolicy
from gateway.exchange import ConversationScope, Principal
from gateway.pii.conversation import conversation_scope
from gateway.stores.tenants import Tenant
from policies.load import load_policy

ADMIN = Principal("-", "cli:test", "admin")
GUARDED = {
    ("GET", "/policies"): Permission.READ_POLICIES,
    ("PUT", "/policies/p"): Permission.WRITE_POLICIES,
    ("DELETE", "/policies/p"): Permission.WRITE_POLICIES,
    ("POST", "/policies/p/rollback/1"): Permission.WRITE_POLICIES,
    ("POST", "/policies/diff"): Permission.READ_POLICIES,
    ("POST", "/scrub"): Permission.DRY_RUN,
    ("GET", "/statistics/2026-01-01"): Permission.READ_STATISTICS,
    ("GET", "/keys"): Permission.READ_KEYS,
    ("POST", "/keys"): Permission.WRITE_KEYS,
    ("POST", "/keys/key_1/revoke"): Permission.WRITE_KEYS,
    ("POST", "/keys/key_1/rotate"): Permission.WRITE_KEYS,
    ("GET", "/tenants"): Permission.READ_KEYS,
    ("GET", "/roster"): Permission.READ_KEYS,
    ("PUT", "/roster"): Permission.WRITE_KEYS,
    ("DELETE", "/roster"): Permission.WRITE_KEYS,
    ("PUT", "/tenants/t"): Permission.WRITE_KEYS,
    ("POST", "/privacy/erase"): Permission.ERASE,
    ("GET", "/privacy/report"): Permission.READ_AUDIT,
    ("GET", "/policies/p"): Permission.READ_POLICIES,
    ("GET", "/policies/p/history"): Permission.READ_POLICIES,
    ("GET", "/audit/public-key"): Permission.READ_AUDIT,
    ("GET", "/budgets"): Permission.READ_BUDGETS,
    ("GET", "/audit/records"): Permission.READ_AUDIT,
    ("GET", "/audit/verify"): Permission.READ_AUDIT,
    ("GET", "/audit/export"): Permission.READ_AUDIT,
    ("GET", "/models"): Permission.READ_MODELS,
    ("PUT", "/models/m"): Permission.WRITE_MODELS,
    ("DELETE", "/models/m"): Permission.WRITE_MODELS,
    ("POST", "/models/m/rollback"): Permission.WRITE_MODELS,
    ("GET", "/models/m/traffic?since_unix_s=0"): Permission.READ_MODELS,
    ("GET", "/rounds"): Permission.READ_MODELS,
    ("PUT", "/rounds/f"): Permission.WRITE_MODELS,
    ("DELETE", "/rounds/f"): Permission.WRITE_MODELS,
}


@pytest.mark.parametrize("role", [role for role in PERMISSIONS if role != "caller"])
async def test_each_endpoint_asks_for_its_permission(clients: Any, role: str) -> None:
    for (method, path), permission in GUARDED.items():
        answer = await clients[role].request(method, path, json={} if method in ("PUT", "POST") else None)
        assert (answer.status_code == 403) == (permission not in PERMISSIONS[role]), (method, path, answer.text)


async def test_every_endpoint_of_the_document_is_guarded(clients: Any) -> None:
    document = (await clients.anonymous.get("/openapi.json")).json()
    parts = {re.sub("{[^}]*}", "*", path): path for path in document["paths"]}
    tried = {(method, re.sub(r"/(p|m|f|t|1|key_1|2026-01-01)(?=/|$)", "/*", path.partition("?")[0])) for method, path in GUARDED}
    every = {(method.upper(), shape) for shape, path in parts.items() for method in document["paths"][path]}
    assert tried == every, "an endpoint without its line in GUARDED, or a line without its endpoint"
    for path, operations in document["paths"].items():
        for method in operations:
            answer = await clients.anonymous.request(method, path.replace("{version}", "1").replace("{", "").replace("}", ""), json={})
            assert answer.status_code == 401, (method, path)


async def test_a_callers_key_and_a_wrong_key_are_refused_audited_and_limited(clients: Any, parts: AdminParts) -> None:
    assert (await clients["caller"].get("/policies")).status_code == 403
    wrong = {"authorization": "Bearer llmos-wrong"}
    statuses = [(await clients.anonymous.get("/policies", headers=wrong)).status_code for _ in range(32)]
    assert statuses == [401] * 9 + [429] * 23, "the caller's key was the first of ten"
    refusals = [orjson.loads(link.record) async for link in parts.audit.links("-") if b"sign_in.refused" in link.record]
    assert [record["outcome"] for record in refusals[:10]] == ["forbidden"] + ["invalid_api_key"] * 9
    assert [(record["outcome"], record["attempts"]) for record in refusals[10:]] == [("too_many_attempts", 16), ("too_many_attempts", 32)]
    assert (await clients["admin"].get("/policies")).status_code == 200  # a good key is never held back


async def put(client: httpx.AsyncClient, source: str, etag: str | None = None) -> httpx.Response:
    headers = {"if-match": etag} if etag is not None else {}
    return await client.put("/policies/p", json={"source": source, "reason": "because"}, headers=headers)


async def test_a_policy_is_made_changed_and_rolled_back(clients: Any) -> None:
    admin = clients["policy_admin"]
    first = await put(admin, "id: p\nentities: {}\nlanguages: [en]\n")
    assert first.status_code == 200
    stale = first.headers["etag"]
    changed = await put(admin, "id: p\nentities: {}\nlanguages: [zh]\n", stale)
    assert changed.json()["version"] == 2
    conflict = await put(admin, "id: p\nentities: {}\n", stale)
    assert (conflict.status_code, conflict.json()["error"]["code"]) == (412, "edit_conflict")
    difference = (await admin.post("/policies/diff", json={"source": "id: p\nentities: {}\nlanguages: [en]\n"})).json()["data"]
    assert difference == [{"path": "languages", "kind": "changed", "before": ["zh"], "after": ["en"]}]
    back = await admin.post("/policies/p/rollback/1", json={"reason": "was right"})
    assert back.json()["version"] == 3
    read = (await admin.get("/policies/p")).json()
    assert (read["effective"]["languages"], read["reason"]) == (["en"], "was right")
    assert [entry["version"] for entry in (await admin.get("/policies/p/history")).json()["data"]] == [3, 2, 1]


@pytest.mark.parametrize("source", ["id: p\nlimts: {}\n", "id: p\n\tx", "id: other\nentities: {}\n", "id: p\nextends: q\n"])
async def test_a_bad_policy_is_refused_and_nothing_changes(clients: Any, parts: AdminParts, source: str) -> None:
    assert (await put(clients["policy_admin"], source)).status_code in (400, 422)
    assert await parts.policies.all() == []


async def test_a_recall_floor_binds_a_production_tenant(clients: Any, parts: AdminParts, tmp_path: Path) -> None:
    labelled = tmp_path / "labelled.jsonl"
    text = "Sarah Connor met Kyle Reese"
    spans = [{"start": 0, "end": 12, "entity": "PERSON"}, {"start": 17, "end": 27, "entity": "PERSON"}]
    labelled.write_bytes(orjson.dumps({"text": text, "spans": spans}))
    floor = "id: p\nentities: {PERSON: {action: mask}}\nrecall_floor: {overall: %s}\n"
    await parts.tenants.put(Tenant("acme", production=True))
    assert "without a labelled file" in (await put(clients["admin"], floor % "0.5")).json()["error"]["message"]
    await parts.tenants.put(Tenant("acme", production=True, labelled_file=str(labelled)))
    refused = await put(clients["admin"], floor % "0.9")
    assert refused.status_code == 422
    assert "is 0.500" in refused.json()["error"]["message"]
    assert (await put(clients["admin"], floor % "0.5")).status_code == 200


async def test_a_dry_run_says_what_each_rule_does_and_keeps_nothing(clients: Any, parts: AdminParts) -> None:
    source = "id: p\nentities: {PERSON: {action: surrogate}}\n"
    tried = (await clients["policy_admin"].post("/scrub", json={"text": "I am Sarah Connor", "source": source})).json()
    assert tried["spans"] == [{"start": 5, "end": 17, "entity": "PERSON", "score": 0.9, "action": "surrogate"}]
    assert tried["sent"].startswith("I am ")
    assert "Sarah" not in tried["sent"]
    blocked = source.replace("surrogate", "block")
    refused = (await clients["policy_admin"].post("/scrub", json={"text": "I am Sarah Connor", "source": blocked})).json()
    assert (refused["sent"], refused["refusal"] is not None) == (None, True)
    assert await parts.vault_store.delete_all("") == 0


async def test_a_key_is_made_shown_once_rotated_and_revoked(clients: Any) -> None:
    operator = clients["operator"]
    made = (await clients["admin"].post("/keys", json={"tenant": "acme", "role": "auditor"})).json()
    headers = {"authorization": f"Bearer {made['key']}"}
    assert (await clients.anonymous.get("/policies", headers=headers)).status_code == 200
    assert all("key" not in each and "secrets" not in each for each in (await operator.get("/keys")).json()["data"])
    rotated = (await clients["admin"].post(f"/keys/{made['key_id']}/rotate", json={"overlap_s": 0})).json()
    assert (await clients.anonymous.get("/policies", headers=headers)).status_code == 401
    headers = {"authorization": f"Bearer {rotated['key']}"}
    assert (await clients.anonymous.get("/policies", headers=headers)).status_code == 200
    assert (await clients["admin"].post(f"/keys/{made['key_id']}/revoke")).json()["state"] == "revoked"
    assert (await clients.anonymous.get("/policies", headers=headers)).status_code == 401


async def test_an_export_verifies_with_the_public_key_alone(clients: Any) -> None:
    await clients["operator"].post("/keys", json={"tenant": "acme"})
    auditor = clients["auditor"]
    lines = (await auditor.get("/audit/export", params={"tenant": "-"})).text.splitlines()
    public = public_key_from_text((await auditor.get("/audit/public-key")).json()["public_key"])
    report = verify_export(lines, public)
    assert (report.holds, report.records, report.signed_seq) == (True, 2, 2)
    assert (await auditor.get("/audit/verify", params={"tenant": "-"})).json()["holds"]
    ended, begun = (await auditor.get("/audit/records", params={"kind": "admin"})).json()["data"]
    assert (begun["action"], begun["target"], begun["outcome"]) == ("key.create", "acme", "begun")
    assert (ended["action"], ended["role"], ended["outcome"]) == ("key.create", "operator", "ok")
    assert ended["key_id"].startswith("key_")


async def test_an_alias_is_drawn_by_its_canary_share(clients: Any, parts: AdminParts) -> None:
    body = {"name": "smollm2", "target": "smollm2@r6", "canary_target": "smollm2@r7", "canary_fraction": 0.5, "previous": None}
    assert (await clients["operator"].put("/models/smollm2", json=body)).json() == body
    assert (await clients["operator"].get("/models")).json()["data"] == [body]
    alias = await parts.aliases.find("smollm2")
    assert alias is not None
    drawn = [alias.draw() for _ in range(2000)]
    assert 850 < drawn.count("smollm2@r7") < 1150  # six standard deviations: a false alarm in 10^9 runs
    assert (await clients["operator"].put("/models/smollm2", json={**body, "canary_fraction": 2})).status_code == 400
    assert (await clients["operator"].delete("/models/smollm2")).status_code == 204


@pytest.mark.parametrize("role", ["auditor", "policy_admin", "admin"])
async def test_an_operator_makes_no_key_that_may_more_than_itself(clients: Any, parts: AdminParts, role: str) -> None:
    operator = clients["operator"]
    assert (await operator.post("/keys", json={"tenant": "acme", "role": role})).status_code == 403
    theirs = (await clients["admin"].post("/keys", json={"tenant": "acme", "role": role})).json()
    assert (await operator.post(f"/keys/{theirs['key_id']}/rotate", json={"overlap_s": 0})).status_code == 403
    assert (await operator.post(f"/keys/{theirs['key_id']}/revoke")).status_code == 403
    assert (await parts.keys.get(theirs["key_id"])).revoked_unix_s is None
    assert (await operator.post("/keys", json={"tenant": "acme", "role": "analyst"})).status_code == 201


@pytest.mark.parametrize("tenant", ["", "-", "St Anne", "ann@acme.org", "13812345678", "医院"])
async def test_a_tenant_has_a_name_that_the_audit_can_carry(parts: AdminParts, tenant: str) -> None:
    with pytest.raises(BadRequest, match="stands in the audit"):
        await create_key(parts, ADMIN, tenant=tenant, role="caller")


async def test_each_refusal_has_a_record(clients: Any, parts: AdminParts) -> None:
    etag = (await put(clients["policy_admin"], "id: p\nentities: {}\n")).headers["etag"]
    await put(clients["policy_admin"], "id: p\nentities: {}\nlanguages: [en]\n", etag)
    refused = {
        "forbidden": await clients["auditor"].get("/keys"),
        "edit_conflict": await put(clients["policy_admin"], "id: p\nentities: {}\n", etag),
        "invalid_policy": await put(clients["policy_admin"], "id: p\nlimts: {}\n", etag),
    }
    ids = {record.role: record.key_id for record in await parts.keys.all()}
    for code, answer in refused.items():
        assert answer.json()["error"]["code"] == code
        (record,) = (await clients["auditor"].get("/audit/records", params={"outcome": code})).json()["data"]
        assert record["status"] == answer.status_code
        assert record["actor"] == ids["auditor" if code == "forbidden" else "policy_admin"]
    (record,) = (await clients["auditor"].get("/audit/records", params={"outcome": "forbidden"})).json()["data"]
    assert (record["method"], record["path"]) == ("GET", "/keys")


async def test_a_tenant_goes_into_production_only_above_the_floors_that_serve_it(parts: AdminParts, tmp_path: Path) -> None:
    labelled = tmp_path / "labelled.jsonl"
    labelled.write_bytes(orjson.dumps({"text": "Kyle Reese", "spans": [{"start": 0, "end": 10, "entity": "PERSON"}]}))
    await apply_policy(parts, ADMIN, "id: p\nentities: {PERSON: {action: mask}}\nrecall_floor: {overall: 0.5}\n", reason="", if_match=None)
    await put_tenant(parts, ADMIN, Tenant("acme", labelled_file=str(labelled)))
    with pytest.raises(InvalidPolicy, match=r"is 0\.000"):
        await put_tenant(parts, ADMIN, Tenant("acme", production=True, labelled_file=str(labelled)))
    assert [tenant.production for tenant in await parts.tenants.all()] == [False]


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(clients: Any) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65_536

    refused = await clients["policy_admin"].put("/policies/p", content=endless(), headers={"content-type": "application/json"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "request_too_large")
    oversize = await put(clients["policy_admin"], "id: p\nentities: {}\ndescription: " + "x" * 300_000)
    assert (oversize.status_code, oversize.json()["error"]["code"]) == (422, "invalid_policy")


async def test_a_conversation_is_erased_by_its_header_and_a_report_tells_what_is_done(clients: Any, parts: AdminParts) -> None:
    assert parts.dry_run is not None
    assert parts.conversation_key is not None
    await parts.policies.apply("id: p\nentities: {PERSON: {action: surrogate}}\n", author="a", reason="")
    caller = Principal("acme", "key_1")
    scope = conversation_scope(caller, key=parts.conversation_key, header="c-7", user=None, system_texts=(), first_user_texts=())
    (entry,) = await parts.policies.all()
    spans = await parts.dry_run.detector.detect(["Sarah Connor"], entry.policy)
    await parts.dry_run.pseudonyms.replace(scope, ["Sarah Connor"], spans, entry.policy)
    body = {"tenant": "acme", "conversation": "c-7", "key_id": "key_1"}
    assert (await clients["operator"].post("/privacy/erase", json=body)).json() == {"conversations": 1, "file_rewritten": True}
    assert (await clients["operator"].post("/privacy/erase", json=body)).json()["conversations"] == 0
    assert (await clients["operator"].post("/privacy/erase", json={"tenant": "acme", "key_id": "key_1"})).status_code == 400
    report = (await clients["auditor"].get("/privacy/report", params={"tenant": "acme"})).text
    assert "# Record of processing: acme" in report
    assert "Policy p, version 1" in report


async def test_a_tenants_state_keeps_its_labelled_file(clients: Any, parts: AdminParts) -> None:
    await parts.tenants.put(Tenant("acme", labelled_file="/labelled.jsonl"))
    assert (await clients["operator"].put("/tenants/acme", json={"production": True})).json()["has_labelled_file"]
    assert await parts.tenants.all() == [Tenant("acme", production=True, labelled_file="/labelled.jsonl")]


async def test_what_cannot_be_audited_is_not_done(clients: Any, parts: AdminParts) -> None:
    """Writers of the audit and of the keys share the store, so it is the audit alone that is made to fail: its key has a wrong type."""
    redis = parts.keys._redis
    await redis.set("llmos:{audit}:log:-", "not a stream")
    assert (await clients["operator"].post("/keys", json={"tenant": "evil"})).status_code == 503
    assert await parts.keys.all("evil") == []


async def test_erasing_a_tenant_leaves_nothing_of_it_on_the_disk(parts: AdminParts, valkey: str) -> None:
    assert parts.dry_run is not None
    policy = load_policy("id: p\nentities: {PERSON: {action: surrogate}}\n")
    for tenant in ("acme", "other"):
        scope = ConversationScope(tenant, "k", "c")
        spans = await parts.dry_run.detector.detect(["Sarah Connor"], policy)
        await parts.dry_run.pseudonyms.replace(scope, ["Sarah Connor"], spans, policy)
    redis = parts.keys._redis
    (mine,) = [name async for name in redis.scan_iter(match="llmos:vault:*") if parts.vault._tenant_entry("acme").encode() in name]
    wrapped = await redis.hget(mine, "k")
    directory = Path(valkey.removeprefix("unix://")).parent
    erased = await erase_tenant(parts, ADMIN, "acme")
    assert (erased.conversations, erased.compacted) == (1, True)
    raw = await asyncio.to_thread(lambda: b"".join(path.read_bytes() for path in directory.rglob("*.aof")))
    raw += await asyncio.to_thread(lambda: b"".join(path.read_bytes() for path in directory.rglob("*.rdb")))
    assert raw
    assert wrapped not in raw
    assert mine not in raw
    assert len([name async for name in redis.scan_iter(match="llmos:vault:*")]) == 1


async def test_an_analyst_reads_noised_days_and_pays_for_each_once(parts: AdminParts, clients: Any) -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    yesterday = today - datetime.timedelta(days=1)
    received = datetime.datetime.combine(yesterday, datetime.time(12), datetime.UTC).timestamp()
    for _ in range(5):
        record = {"tenant": "acme", "key_id": "k", "api": "chat.completions", "outcome": "ok", "received_unix_s": received}
        await parts.audit.outcome(record)
    analyst = clients["analyst"]
    first = (await analyst.get(f"/statistics/{yesterday}")).json()
    assert first["counts"]["chat.completions:ok"] == 3  # a key counts for three at most
    assert (first["epsilon"], first["unit"]) == (1e4, "one API key, one day")
    assert (await analyst.get(f"/statistics/{yesterday}")).json() == first
    assert (await analyst.get(f"/statistics/{today}")).status_code == 400
    before = yesterday - datetime.timedelta(days=1)
    assert (await analyst.get(f"/statistics/{before}")).status_code == 200
    spent = await analyst.get(f"/statistics/{before - datetime.timedelta(days=1)}")
    assert (spent.status_code, spent.json()["error"]["code"]) == (429, "privacy_budget_exceeded")
    assert spent.headers["x-should-retry"] == "false"
    assert int(spent.headers["retry-after"]) > 0


async def test_statistics_are_the_analysts_alone_who_read_nothing_else(clients: Any) -> None:
    for role in ("caller", "auditor", "operator", "policy_admin", "admin"):
        assert (await clients[role].get("/statistics/2026-01-01")).status_code == 403
    for path in ("/audit/records?tenant=acme", "/budgets", "/keys", "/policies"):
        assert (await clients["analyst"].get(path)).status_code == 403
