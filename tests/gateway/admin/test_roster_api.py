"""Rosters by the admin API: load, add, status, clear, and errors that quote nobody."""

from __future__ import annotations

from typing import Any

PERSON = {"name": "Sarah Canary", "numbers": {"MEDICAL_RECORD": "MR-4839201"}}


async def test_load_add_status_and_clear(clients: Any) -> None:
    operator, auditor = clients["operator"], clients["auditor"]
    assert (await operator.get("/roster", params={"tenant": "acme"})).status_code == 404
    loaded = await operator.put("/roster", json={"tenant": "acme", "people": [PERSON]})
    assert (loaded.status_code, loaded.json()["people"]) == (200, 1)
    more = await operator.put("/roster", json={"tenant": "acme", "people": [{"name": "John Smith"}], "add": True})
    assert more.json()["people"] == 2
    status = await operator.get("/roster", params={"tenant": "acme"})
    assert status.json()["terms"]["MEDICAL_RECORD"] == 1
    assert "anary" not in status.text + loaded.text
    assert (await auditor.put("/roster", json={"tenant": "acme", "people": [PERSON]})).status_code == 403
    assert (await operator.delete("/roster", params={"tenant": "acme"})).status_code == 204
    assert (await operator.delete("/roster", params={"tenant": "acme"})).status_code == 404


async def test_a_person_that_can_not_be_read_is_not_quoted(clients: Any) -> None:
    answer = await clients["operator"].put("/roster", json={"tenant": "acme", "people": [PERSON, {"name": ["Sarah Canary", 5]}]})
    assert answer.status_code == 400
    assert "Line 2" in answer.json()["error"]["message"]
    assert "Canary" not in answer.text
