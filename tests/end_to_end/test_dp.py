"""Differential privacy through the whole gateway, before a real vLLM that carries the plugin, and before a server that does not."""

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import openai
import pytest
from redis.asyncio import Redis

from gateway.pii.keyring import KeyRing
from gateway.serving import valkey
from gateway.stores.keys import ValkeyKeys
from gateway.stores.policies import ValkeyPolicies

TOKEN = {"kind": "token", "clip": 20.0, "temperature": 1.0, "max_tokens": 32}
ARGMAX = {"kind": "token", "selection": "argmax", "epsilon_per_token": 29.0, "max_tokens": 32}
ENSEMBLE = {"kind": "ensemble", "groups": 4, "clip": 8.0, "temperature": 0.4, "crosstalk": 0.1, "max_tokens": 12}
SHAPE = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "x-dp": {"mechanism": "drop"}},
        "score": {"type": "number", "minimum": 0, "maximum": 10, "x-dp": {"mechanism": "laplace", "epsilon": 2.0}},
        "urgent": {"type": "boolean", "x-dp": {"mechanism": "randomized_response", "epsilon": 1.0}},
    },
}
STRUCTURED = {"kind": "structured", "json_schema": SHAPE, "max_tokens": 60}
QUESTION: Any = [{"role": "user", "content": "What is the capital of France? Write to sarah.connor@cyberdyne.com."}]


async def _key_under(gateway: Any, dp: dict[str, Any], **policy_fields: Any) -> str:
    """A key of a new tenant, under a policy with this `dp` section."""
    name = uuid.uuid4().hex[:8]  # shorter than the run of digits for which the audit withholds a name
    redis = Redis.from_url(valkey.url(gateway.data_dir))
    try:
        policy = {"id": f"dp-{name}", "match": {"tenants": [f"t-{name}"]}, "dp": dp, **policy_fields}
        await ValkeyPolicies(redis).apply(json.dumps(policy), author="test", reason="")
        async with ValkeyKeys(redis, KeyRing.load_or_create(gateway.data_dir / "master.key").index_key("api-keys")) as keys:
            text = f"sk-llmos-{name}"
            await keys.create(tenant=f"t-{name}", role="caller", label="test", created_by="test", text=text)
            return text
    finally:
        await redis.aclose()


def client_under(
    gateway: Any, mechanism: dict[str, Any], epsilon: float = 1e5, policy_fields: dict[str, Any] | None = None, **more: Any
) -> openai.OpenAI:
    async def prepared() -> str:
        dp = {"mechanism": mechanism, "budget": {"epsilon": epsilon}, **more}
        key = await _key_under(gateway, dp, **(policy_fields or {}))
        await asyncio.sleep(1.5)  # every replica follows the policies within a second
        return key

    run: Callable[[Coroutine[Any, Any, str]], str] = asyncio.run
    return openai.OpenAI(base_url=gateway.url + "/v1", api_key=run(prepared()), max_retries=0, timeout=240)


@pytest.mark.vllm
def test_a_token_answer_carries_its_claim_and_nothing_else(before_vllm: Any) -> None:
    client = client_under(before_vllm, ARGMAX, epsilon=1000.0)
    raw = client.chat.completions.with_raw_response.create(
        model="smollm2", messages=QUESTION, max_tokens=8, seed=1, temperature=0.1, top_p=0.2, extra_body={"min_p": 0.5}
    )
    answer = raw.parse()
    assert answer.choices[0].message.content
    assert answer.usage is None
    assert raw.headers["x-llmos-dp-mechanism"] == "token"
    assert raw.headers["x-llmos-dp-unit"].startswith("request")
    spent = float(raw.headers["x-llmos-dp-epsilon"])
    assert spent % 29.0 == 0.0
    assert spent <= 8 * 29.0
    assert float(raw.headers["x-llmos-dp-epsilon-remaining"]) == 1000.0 - spent


@pytest.mark.vllm
def test_a_stream_is_drawn_token_by_token_and_settled_at_its_end(before_vllm: Any) -> None:
    client = client_under(before_vllm, TOKEN, epsilon=4 * 40.0)
    with client.chat.completions.with_streaming_response.create(model="smollm2", messages=QUESTION, max_tokens=3, stream=True) as raw:
        assert float(raw.headers["x-llmos-dp-epsilon"]) == 3 * 40.0  # the worst case: the end is not known when headers go out
        events = [json.loads(line[6:]) for line in raw.iter_lines() if line.startswith("data: {")]
    assert events[-1]["choices"][0]["finish_reason"] in ("stop", "length")
    assert all("usage" not in event for event in events)
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="smollm2", messages=QUESTION, max_tokens=4)
    assert caught.value.code == "privacy_budget_exceeded"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert int(caught.value.response.headers["retry-after"]) > 0


@pytest.mark.vllm
def test_a_structured_answer_has_its_shape_and_its_sum(before_vllm: Any) -> None:
    client = client_under(before_vllm, STRUCTURED)
    ask: Any = [{"role": "user", "content": "Rate the urgency of this note from 0 to 10: the patient has chest pain."}]
    raw = client.chat.completions.with_raw_response.create(model="smollm2", messages=ask)
    released = json.loads(raw.parse().choices[0].message.content or "")
    assert set(released) == {"score", "urgent"}
    assert 0 <= released["score"] <= 10
    assert float(raw.headers["x-llmos-dp-epsilon"]) == 3.0
    streamed = client.chat.completions.create(model="smollm2", messages=ask, stream=True)
    assert set(json.loads("".join(event.choices[0].delta.content or "" for event in streamed))) == {"score", "urgent"}


@pytest.mark.vllm
def test_an_ensemble_answers_from_private_records(before_vllm: Any) -> None:
    client = client_under(before_vllm, ENSEMBLE)
    records = [f"Patient {name} has fever and a cough." for name in ("Sarah Connor", "John Reese", "Ann Lee", "Tom Ford", "Eva Roth")]
    raw = client.chat.completions.with_raw_response.create(
        model="smollm2",
        messages=[{"role": "user", "content": "Name the most common complaint in one sentence."}],
        max_tokens=10,
        extra_body={"private_records": records},
    )
    assert raw.headers["x-llmos-dp-mechanism"] == "ensemble"
    assert raw.headers["x-llmos-dp-unit"].startswith("record")
    assert raw.parse().choices[0].finish_reason in ("stop", "length")
    assert 0 < float(raw.headers["x-llmos-dp-epsilon"]) <= 10 * 2 * 8.0 * 1.2 / (4 * 0.4)


@pytest.mark.vllm
def test_restoring_gives_up_the_claim(before_vllm: Any) -> None:
    client = client_under(before_vllm, ARGMAX, restore=True)
    raw = client.chat.completions.with_raw_response.create(model="smollm2", messages=QUESTION, max_tokens=3)
    assert not any(name.lower().startswith("x-llmos-dp") for name in raw.headers)


@pytest.mark.vllm
@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({}, "max_tokens"),
        ({"max_tokens": 33}, "max_tokens"),
        ({"max_tokens": 2, "n": 2}, "n"),
        ({"max_tokens": 2, "logprobs": True}, "logprobs"),
    ],
)
def test_requests_that_the_mechanism_cannot_serve_are_refused(before_vllm: Any, more: dict[str, Any], param: str) -> None:
    client = client_under(before_vllm, TOKEN)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="smollm2", messages=QUESTION, **more)
    assert caught.value.param == param


def test_a_server_without_the_plugin_is_noticed_and_gets_no_request(before_echo: Any, echo: Any) -> None:
    client = client_under(before_echo, TOKEN)
    echo.bodies.clear()
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="echo", messages=QUESTION, max_tokens=4)
    assert caught.value.status_code == 502
    assert not any(b"capital" in body for body in echo.bodies)


def test_a_failing_model_server_shows_nothing_in_a_structured_answer(before_echo: Any) -> None:
    """The echo answers no JSON: the object is drawn from the defaults, under the same headers."""
    client = client_under(before_echo, STRUCTURED)
    raw = client.chat.completions.with_raw_response.create(model="echo", messages=QUESTION)
    assert set(json.loads(raw.parse().choices[0].message.content or "")) == {"score", "urgent"}
    assert float(raw.headers["x-llmos-dp-epsilon"]) == 3.0


def test_the_limits_headers_do_not_tell_how_long_the_answer_was(before_echo: Any) -> None:
    """The server counts three tokens for any answer; what the headers count is the estimate, which no answer changes."""
    client = client_under(before_echo, STRUCTURED, policy_fields={"limits": {"tokens_per_minute": 2_000}})

    def remaining() -> int:
        raw = client.chat.completions.with_raw_response.create(model="echo", messages=QUESTION)
        return int(raw.headers["x-ratelimit-remaining-tokens"])

    first, second = remaining(), remaining()
    assert first - second > 100  # over 300 taken, refilled by 33 a second; three tokens, if the answer's count were believed


def test_a_structured_answer_leaves_at_its_fixed_time(before_echo: Any) -> None:
    client = client_under(before_echo, STRUCTURED | {"answer_after_s": 2.0})
    begun_s = time.monotonic()
    answer = client.chat.completions.create(model="echo", messages=QUESTION)
    assert time.monotonic() - begun_s >= 2.0
    assert set(json.loads(answer.choices[0].message.content or "")) == {"score", "urgent"}


def test_a_structured_answer_is_never_masked(before_echo: Any) -> None:
    """A long number looks like a card's; masked, it would be no JSON."""
    leaf = {"type": "integer", "minimum": 4012888888881881, "maximum": 4012888888881882, "x-dp": {"mechanism": "laplace", "epsilon": 1.0}}
    client = client_under(before_echo, STRUCTURED | {"json_schema": {"type": "object", "properties": {"n": leaf}}})
    answer = client.chat.completions.create(model="echo", messages=QUESTION)
    assert json.loads(answer.choices[0].message.content or "")["n"] in (4012888888881881, 4012888888881882)


def test_a_budget_that_changes_while_requests_run_binds_the_next_one(before_echo: Any) -> None:
    client = client_under(before_echo, STRUCTURED, epsilon=1e3)
    assert client.chat.completions.create(model="echo", messages=QUESTION).choices
    tenant = f"t-{client.api_key.removeprefix('sk-llmos-')}"

    async def lower() -> None:
        redis = Redis.from_url(valkey.url(before_echo.data_dir))
        policies = ValkeyPolicies(redis)
        policy = {"id": f"dp-{tenant[2:]}", "match": {"tenants": [tenant]}, "dp": {"mechanism": STRUCTURED, "budget": {"epsilon": 4.0}}}
        await policies.apply(json.dumps(policy), author="test", reason="", if_match="*")
        await redis.aclose()
        await asyncio.sleep(1.5)

    asyncio.run(lower())
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="echo", messages=QUESTION)
    assert caught.value.code == "privacy_budget_exceeded"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert int(caught.value.response.headers["retry-after"]) > 0


def test_a_policy_whose_leaf_has_no_mechanism_is_not_applied(before_echo: Any) -> None:
    bare = {"kind": "structured", "json_schema": {"type": "object", "properties": {"a": {"type": "number", "minimum": 0, "maximum": 1}}}}
    with pytest.raises(Exception, match="without a mechanism"):
        client_under(before_echo, bare)
    assert httpx.get(before_echo.url + "/readyz", timeout=60).status_code == 200
