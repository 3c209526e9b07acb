"""The noise stage releases only what was drawn privately, rebuilt from nothing, and writes down what that cost."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.dp.loss import Loss, Tally, worst_case
from gateway.errors import UpstreamFailed
from gateway.exchange import (
    Admitted,
    Answered,
    ConversationScope,
    Json,
    Principal,
    PrivateAdmission,
    Received,
    Routed,
    Scrubbed,
    ServedModel,
)
from gateway.stages.noise import noise
from policies.dp import DpRule
from policies.schema import Policy

V, MAX_TOKENS = 300, 10
TOKEN = {"kind": "token", "clip": 4.0, "temperature": 1.0, "max_tokens": 50}
LEAF = {"type": "number", "minimum": 0, "maximum": 10, "x-dp": {"mechanism": "laplace", "epsilon": 1e5}}
STRUCTURED = {"kind": "structured", "json_schema": {"type": "object", "properties": {"score": LEAF}}}


def rule(mechanism: dict[str, Any]) -> DpRule:
    return DpRule.model_validate({"mechanism": mechanism, "budget": {"epsilon": 1e6}})


def answered(
    mechanism: dict[str, Any] | None, body: Json | None = None, events: AsyncIterator[Json] | None = None, *, stream: bool = False
) -> Answered:
    policy = Policy.model_validate({"id": "p"} | ({"dp": rule(mechanism).model_dump()} if mechanism else {}))
    received = Received("r", "chat.completions", Principal("t", "k"), {"stream": stream})
    private = PrivateAdmission("id", MAX_TOKENS, V) if mechanism else None
    admitted = Admitted(received, policy, 1, ServedModel("named", "upstream-name", "vllm"), private)
    scope = ConversationScope("t", "k", "c")
    return Answered(Routed(Scrubbed(admitted, scope, {}, (), (), {}), "vllm", "upstream-name", {}), body, events)


def said(text: str, reason: str | None = "stop", drawn: int = 3, **choice: Any) -> Json:
    return {
        "id": "server-id",
        "system_fingerprint": "server",
        "choices": [{"index": 0, "message": {"content": text}, "finish_reason": reason, **choice}],
        "usage": {"prompt_tokens": 123, "completion_tokens": drawn, "total_tokens": 126},
    }


def event(text: str | None, reason: str | None = None, **choice: Any) -> Json:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason, **choice}]}


async def streamed(*events: Json) -> AsyncIterator[Json]:
    for each in events:
        yield each


COUNTED: Json = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}


def test_without_a_mechanism_nothing_is_touched() -> None:
    plain, tally = answered(None, said("x")), Tally()
    assert noise(plain, tally) is plain
    assert tally.loss == Loss()


def test_a_drawn_answer_is_rebuilt_from_its_text_alone() -> None:
    tally = Tally()
    body = noise(answered(TOKEN, said("drawn")), tally).body
    assert body is not None
    assert body["choices"] == [
        {"index": 0, "finish_reason": "stop", "logprobs": None, "message": {"role": "assistant", "content": "drawn"}}
    ]
    assert not {"usage", "system_fingerprint"} & set(body)
    assert "server-id" not in json.dumps(body)
    assert body["model"] == "named"
    assert tally.loss == worst_case(rule(TOKEN), 3)


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (said("x", drawn=0), MAX_TOKENS),
        (said("x", drawn=MAX_TOKENS + 1), MAX_TOKENS),
        (said("x", "length", drawn=2), MAX_TOKENS),  # an answer that reached its bound drew all of it, whatever the server counts
        ({k: v for k, v in said("x").items() if k != "usage"}, MAX_TOKENS),
        (said("x", drawn=MAX_TOKENS), MAX_TOKENS),
        (said("x", drawn=1), 1),
    ],
)
def test_counts_that_cannot_be_are_charged_as_the_worst_case(body: Json, tokens: int) -> None:
    tally = Tally()
    noise(answered(TOKEN, body), tally)
    assert tally.loss == worst_case(rule(TOKEN), tokens)


@pytest.mark.parametrize(
    "body",
    [
        said("", stop_reason=V - 1),  # the trap: no plugin drew this
        said("x", logprobs={"content": []}),
        said("x", "tool_calls"),
        said("x", None),
        {},
    ],
)
def test_what_was_not_drawn_privately_is_not_released(body: Json) -> None:
    tally = Tally(None)
    with pytest.raises(UpstreamFailed):
        noise(answered(TOKEN, body), tally)
    assert tally.loss is None  # charged in full


async def test_a_stream_is_rebuilt_and_settled_at_its_end() -> None:
    tally = Tally()
    events = noise(answered(TOKEN, events=streamed(event("a"), event("b", "stop"), COUNTED), stream=True), tally).events
    assert events is not None
    assert tally.loss is None
    found = [each async for each in events]
    assert [each["choices"][0]["delta"].get("content") for each in found] == ["a", "b"]
    assert all("usage" not in each for each in found)
    assert tally.loss == worst_case(rule(TOKEN), 4)


@pytest.mark.parametrize("events", [(event("a"),), (event("a"), COUNTED), (event("a"), event(None, "stop"))])
async def test_a_stream_that_broke_off_or_was_not_counted_owes_the_worst_case(events: tuple[Json, ...]) -> None:
    tally = Tally()
    released = noise(answered(TOKEN, events=streamed(*events), stream=True), tally).events
    assert released is not None
    async for _ in released:
        pass
    assert tally.loss is None


async def test_a_stream_ends_at_the_first_event_that_was_not_drawn_privately() -> None:
    tally = Tally()
    events = streamed(event("a"), event("clear", "stop", stop_reason=V - 1), COUNTED)
    released = noise(answered(TOKEN, events=events, stream=True), tally).events
    assert released is not None
    assert "clear" not in json.dumps(await anext(aiter(released)))
    with pytest.raises(UpstreamFailed):
        await anext(aiter(released))
    assert tally.loss is None


@pytest.mark.parametrize(
    ("body", "near"), [(said('{"score": 8}'), 8), (said('{"score": 8}', "length"), 5), (said("no json"), 5), (None, 5), ({}, 5)]
)
def test_failures_are_drawn_from_the_default_and_cost_the_same(body: Json | None, near: float) -> None:
    tally = Tally()
    released = noise(answered(STRUCTURED, body), tally).body
    assert released is not None
    assert json.loads(released["choices"][0]["message"]["content"])["score"] == pytest.approx(near, abs=0.1)
    assert (released["choices"][0]["finish_reason"], "usage" in released) == ("stop", False)
    assert tally.loss == worst_case(rule(STRUCTURED), 1)


def test_an_answer_that_was_not_admitted_as_private_is_not_released() -> None:
    one = answered(TOKEN, said("x"))
    scrubbed = one.routed.scrubbed
    bare = replace(one, routed=replace(one.routed, scrubbed=replace(scrubbed, admitted=replace(scrubbed.admitted, private=None))))
    with pytest.raises(UpstreamFailed, match="not admitted"):
        noise(bare, Tally())
