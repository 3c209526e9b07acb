"""Three worked scenarios on the real model server, each from a policy to an answer: what was sent is read from the wire, not computed."""

import asyncio
import json
import uuid
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from gateway.pii.keyring import KeyRing
from gateway.serving import valkey
from gateway.stores.keys import ValkeyKeys
from gateway.stores.policies import ValkeyPolicies

pytestmark = pytest.mark.vllm

TRIAGE = {
    "type": "object",
    "properties": {
        "risk": {"type": "number", "minimum": 0, "maximum": 10, "x-dp": {"mechanism": "laplace", "epsilon": 2.0}},
        "escalate": {"type": "boolean", "x-dp": {"mechanism": "randomized_response", "epsilon": 1.0}},
    },
}


@dataclass
class Shown:
    """What one caller saw: the body that the model server got, the answer, its headers."""

    sent: str
    answer: str
    headers: httpx.Headers


async def _prepare(gateway: Any, policy: dict[str, Any]) -> str:
    """The policy for a new tenant, and a key of it."""
    tenant = uuid.uuid4().hex[:8]
    redis = Redis.from_url(valkey.url(gateway.data_dir))
    try:
        document = {"id": f"scenario-{tenant}", "match": {"tenants": [tenant]}, **policy}
        await ValkeyPolicies(redis).apply(json.dumps(document), author="test", reason="a scenario")
        async with ValkeyKeys(redis, KeyRing.load(gateway.data_dir / "master.key").index_key("api-keys")) as keys:
            text = f"sk-llmos-{tenant}"
            await keys.create(tenant=tenant, role="caller", label="scenario", created_by="test", text=text)
        await asyncio.sleep(1.5)  # every worker follows the policies within a second
        return text
    finally:
        await redis.aclose()


def ask(gateway: Any, policy: dict[str, Any], question: str) -> Shown:
    headers = {"authorization": f"Bearer {asyncio.run(_prepare(gateway, policy))}", "x-llmos-show-sent": "1"}
    body = {"model": "smollm2", "stream": True, "max_tokens": 40, "temperature": 0, "messages": [{"role": "user", "content": question}]}
    sent, answer = "", ""
    with httpx.stream("POST", gateway.url + "/v1/chat/completions", json=body, headers=headers, timeout=120) as response:
        assert response.status_code == 200, response.read()
        for line in response.iter_lines():
            if line.startswith(": llmos-sent "):
                sent = line.removeprefix(": llmos-sent ")
            elif line.startswith("data: {"):
                choices = json.loads(line[6:])["choices"]
                answer += "".join(choice["delta"].get("content") or "" for choice in choices)
    assert answer
    return Shown(sent, answer, response.headers)


def test_a_diagnosis_question_in_healthcare(before_vllm: Any) -> None:
    note = (
        "Patient Sarah Connor, born 03/14/1962, MRN 00482913, phone (415) 555-2671, was seen for a dry cough and fever of 39 degrees "
        "for three days. What diagnosis is likely?"
    )
    shown = ask(before_vllm, {"extends": "healthcare"}, note)
    for identifier in ("Sarah", "Connor", "03/14/1962", "00482913", "555-2671"):
        assert identifier not in shown.sent, identifier
    assert "dry cough and fever of 39 degrees" in shown.sent, "what the question is about stays"


def test_fraud_triage_in_finance_under_differential_privacy(before_vllm: Any) -> None:
    mechanism = {"kind": "structured", "json_schema": TRIAGE, "max_tokens": 60}
    policy = {"extends": "finance", "dp": {"mechanism": mechanism, "budget": {"epsilon": 6.0}}}
    alert = (
        "Rate this alert from 0 to 10: John Reese, card 4539 1488 0343 6467, paid 9,900 dollars four times within an hour from an "
        "address in another country."
    )
    shown = ask(before_vllm, policy, alert)
    for identifier in ("Reese", "4539 1488 0343 6467"):
        assert identifier not in shown.sent, identifier
    assert "four times within an hour" in shown.sent
    released = json.loads(shown.answer)
    assert set(released) == {"risk", "escalate"}
    assert 0 <= released["risk"] <= 10
    assert float(shown.headers["x-llmos-dp-epsilon"]) == 3.0
    assert float(shown.headers["x-llmos-dp-epsilon-remaining"]) == pytest.approx(3.0)


def test_a_contract_review_in_law(before_vllm: Any) -> None:
    clause = (
        "Case 3:24-cv-01187. Our client Maria Gonzalez, maria.gonzalez@cyberdyne.com, shall deliver the goods within 30 days and pays a "
        "penalty of 2 percent for each week of delay. Which duty does the clause create?"
    )
    shown = ask(before_vllm, {"extends": "legal"}, clause)
    for identifier in ("Gonzalez", "maria.gonzalez@cyberdyne.com", "3:24-cv-01187"):
        assert identifier not in shown.sent, identifier
    assert "penalty of 2 percent for each week of delay" in shown.sent
    sent_names = json.loads(shown.sent)["messages"][-1]["content"]
    stand_in = sent_names.partition("client ")[2].partition(",")[0]
    assert stand_in
    assert stand_in not in shown.answer, "a stand-in in the answer is put back"
