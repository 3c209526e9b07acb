"""Aliases roll back to what was seen, federations tell their rounds, and a canary's traffic is counted by the model that answered."""

from __future__ import annotations

import time
from typing import Any

import pytest

from gateway.admin.models import alias_traffic
from gateway.admin.parts import AdminParts

PROMOTED = {"name": "smollm2", "target": "smollm2@r3", "previous": "smollm2@r2"}
ROUND = {"round_number": 3, "version": 2, "clients": 3, "perplexity": 42.1, "epsilon": 6.99, "seconds": 50.0}
STATE = {"alias": "smollm2", "stage": "train", "what": "mask: 3 clients", "at_unix_s": 1.7e9, "rounds": [ROUND]}


async def test_one_call_rolls_back_and_only_from_the_version_that_was_seen(clients: Any, parts: AdminParts) -> None:
    operator = clients["operator"]
    assert (await operator.post("/models/smollm2/rollback", json={"target": "smollm2@r3"})).status_code == 404
    await operator.put("/models/smollm2", json={**PROMOTED, "canary_target": "smollm2@r4", "canary_fraction": 0.5})
    assert (await operator.post("/models/smollm2/rollback", json={"target": "smollm2@r1"})).status_code == 412
    back = (await operator.post("/models/smollm2/rollback", json={"target": "smollm2@r3"})).json()
    assert (back["target"], back["canary_target"], back["previous"]) == ("smollm2@r2", None, None)
    assert (await operator.post("/models/smollm2/rollback", json={"target": "smollm2@r2"})).status_code == 400, "no way back is left"
    acts = [r["action"] for r in (await clients["auditor"].get("/audit/records", params={"kind": "admin"})).json()["data"]]
    assert "model.rollback" in acts


@pytest.mark.parametrize("wrong", [{"target": "smollm2@1764040000"}, {"canary_target": "a@b.org", "canary_fraction": 0.1}])
async def test_a_name_that_the_audit_withholds_is_refused(clients: Any, wrong: dict[str, Any]) -> None:
    refused = await clients["operator"].put("/models/smollm2", json=PROMOTED | wrong)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "bad_request")
    assert "audit" in refused.json()["error"]["message"]


async def test_a_coordinator_tells_its_rounds_and_an_operator_reads_them(clients: Any, parts: AdminParts) -> None:
    operator = clients["operator"]
    assert (await operator.get("/rounds")).json() == {"data": []}
    assert (await operator.put("/rounds/clinics", json=STATE)).status_code == 204
    (told,) = (await operator.get("/rounds")).json()["data"]
    assert (told["federation"], told["stage"], told["rounds"][0]["perplexity"]) == ("clinics", "train", 42.1)
    assert (await operator.delete("/rounds/clinics")).status_code == 204
    assert (await operator.delete("/rounds/clinics")).status_code == 404


async def test_the_audit_has_the_rounds_that_ended_and_not_their_stages(clients: Any, parts: AdminParts) -> None:
    operator = clients["operator"]
    begun = STATE | {"rounds": []}
    for told in (
        begun,
        begun | {"what": "share: 3 clients"},
        STATE,
        STATE | {"stage": "idle"},
        STATE | {"rounds": [ROUND | {"version": 7}]},
    ):
        assert (await operator.put("/rounds/clinics", json=told)).status_code == 204
    await operator.delete("/rounds/clinics")
    await operator.delete("/rounds/clinics")
    records = (await clients["auditor"].get("/audit/records", params={"kind": "admin"})).json()["data"]
    assert {r["target"] for r in records if r["action"].startswith("rounds.")} == {"clinics"}
    acts = [(r["action"], r.get("round_number"), r.get("version"), r["outcome"]) for r in records if r["action"].startswith("rounds.")]
    assert sorted(map(str, acts)) == sorted(
        str(act)
        for ended in ("begun", "ok")
        for act in (
            *(("rounds.told", number, version, ended) for number, version in ((None, None), (3, 2), (3, 7))),
            ("rounds.forgotten", None, None, ended),
            ("rounds.forgotten", None, None, "begun" if ended == "begun" else "not_found"),
        )
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"stage": "x" * 41},
        {"rounds": [ROUND] * 201},
        {"rounds": [ROUND | {"reasons": ["y" * 501]}]},
        {"weights": [1.0]},
        {"alias": ""},
    ],
)
async def test_a_state_out_of_bounds_is_refused(clients: Any, wrong: dict[str, Any]) -> None:
    assert (await clients["operator"].put("/rounds/clinics", json=STATE | wrong)).status_code == 400


async def test_traffic_counts_requests_and_failures_by_the_model_that_answered(clients: Any, parts: AdminParts) -> None:
    began = time.time()

    async def ended(model: str, upstream_model: str, status: int, total_ms: float) -> None:
        words = {"tenant": "acme", "key_id": "key_1", "model": model, "upstream_model": upstream_model}
        await parts.audit.outcome({**words, "outcome": "ok", "status": status, "total_ms": total_ms})

    for status, total_ms in ((200, 100.0), (200, 300.0), (502, 200.0)):
        await ended("smollm2", "smollm2@r7", status, total_ms)
    await ended("smollm2", "smollm2@r6", 200, 50.0)
    await ended("other", "other", 502, 1.0)
    rows = (await clients["operator"].get("/models/smollm2/traffic", params={"since_unix_s": began - 1})).json()["data"]
    assert rows == [
        {"target": "smollm2@r6", "requests": 1, "failed": 0, "median_s": 0.05},
        {"target": "smollm2@r7", "requests": 3, "failed": 1, "median_s": 0.2},
    ]
    assert await alias_traffic(parts.audit, "smollm2", time.time() + 10) == {}
