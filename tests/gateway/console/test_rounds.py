"""The page of rounds: what a coordinator told is shown, escaped, and one click rolls the alias back."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.admin.parts import AdminParts
from gateway.console.app import console_app
from gateway.stores.aliases import Alias

ROUND = {"round_number": 1, "version": 0, "clients": 3, "perplexity": 42.0, "mean_loss": None, "epsilon": 4.39, "seconds": 50.0}
REFUSED = {**ROUND, "round_number": 2, "version": None, "perplexity": 9e9, "reasons": ["Its perplexity is <b>9e9</b>."]}
STATE = {"alias": "smollm2", "stage": "train", "what": "mask: 3 clients", "at_unix_s": 1.7e9, "rounds": [{**ROUND, "reasons": []}, REFUSED]}


@pytest.fixture
async def operator(parts: AdminParts) -> AsyncIterator[httpx.AsyncClient]:
    key = await parts.keys.create(tenant="acme", role="operator", created_by="test")
    transport = httpx.ASGITransport(console_app(lambda: parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        assert (await client.post("/sign-in", data={"credential": key.text})).status_code == 303
        yield client


async def test_rounds_are_shown_and_one_click_rolls_back(operator: httpx.AsyncClient, parts: AdminParts) -> None:
    assert "No federation" in (await operator.get("/rounds")).text
    await parts.rounds.put("clinics", STATE)
    await parts.aliases.put(Alias("smollm2", "smollm2@r3", previous="smollm2@r2"))
    page = (await operator.get("/rounds")).text
    for shown in ("clinics", "mask: 3 clients", "42.00", "4.39", "&lt;b&gt;9e9&lt;/b&gt;", "Roll back to smollm2@r2", "<svg"):
        assert shown in page
    csrf = re.search(r'name="csrf" value="([0-9a-f]+)"', page)
    assert csrf is not None
    form = {"alias": "smollm2", "target": "smollm2@r3"}
    assert (await operator.post("/rounds/rollback", data=form)).status_code == 403, "without the session's token"
    assert (await operator.post("/rounds/rollback", data=form | {"csrf": csrf[1]})).status_code == 303
    (alias,) = await parts.aliases.all()
    assert (alias.target, alias.previous) == ("smollm2@r2", None)
    assert "Roll back to" not in (await operator.get("/rounds")).text
    again = await operator.post("/rounds/rollback", data=form | {"csrf": csrf[1]})
    assert again.status_code == 412, "a page that shows an older state rolls nothing back"
