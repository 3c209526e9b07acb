"""The token mechanism on the secret-shared path: real parties of a tiny model, tokens drawn and counted in the gateway."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.backends.mpc import MpcBackend, MpcServer
from gateway.backends.mpc_private import PrivateDraw
from gateway.dp.loss import Tally, worst_case
from gateway.errors import PolicyRefusal, UpstreamFailed
from gateway.exchange import Admitted, Answered, ConversationScope, Principal, PrivateAdmission, Received, Routed, Scrubbed, ServedModel
from gateway.stages.noise import noise
from gateway.stages.route import route
from policies.dp import TokenRule
from policies.schema import Policy

pytestmark = pytest.mark.timeout(180)
TOKEN = {"kind": "token", "clip": 4.0, "temperature": 1.0, "max_tokens": 50}
MAX_TOKENS = 6


@pytest.fixture
async def server(running_mpc: Path) -> AsyncIterator[MpcServer]:
    opened = MpcServer(running_mpc)
    yield opened
    opened.close()


def routed(mechanism: dict[str, Any] = TOKEN, *, stream: bool = False, target: Any = "mpc", **policy: Any) -> Routed:
    dp = {"mechanism": mechanism, "budget": {"epsilon": 1e5}}
    given = {"messages": [{"role": "user", "content": "w1 w2 w3"}], "temperature": 2, "seed": 1, "stream": stream}
    received = Received("r", "chat.completions", Principal("t", "k"), given)
    served = ServedModel("smollm2-mpc", "smollm2-mpc", target)
    admitted = Admitted(received, Policy.model_validate({"id": "p", "dp": dp} | policy), 1, served, PrivateAdmission("id", MAX_TOKENS))
    return route(Scrubbed(admitted, ConversationScope("t", "k", "c"), given, (), (), {}), None)


def test_no_parameter_of_the_callers_goes_along() -> None:
    assert set(routed().body) == {"messages", "max_tokens"}


async def test_an_answer_is_drawn_privately_and_its_end_is_paid(server: MpcServer) -> None:
    one, tally = routed(), Tally(None)
    body = await MpcBackend(server).complete(one)
    drawn = body["usage"]["completion_tokens"]
    reason = body["choices"][0]["finish_reason"]
    assert drawn == MAX_TOKENS if reason == "length" else 1 <= drawn <= MAX_TOKENS
    released = noise(Answered(one, body, None), tally).body
    assert released is not None
    assert "usage" not in released
    rule = one.scrubbed.admitted.policy.dp
    assert rule is not None
    assert tally.loss == worst_case(rule, drawn)


async def test_a_stream_is_paid_for_each_draw(server: MpcServer) -> None:
    one, tally = routed(stream=True), Tally()
    events = noise(Answered(one, None, MpcBackend(server).stream(one)), tally).events
    assert events is not None
    assert tally.loss is None
    assert [event async for event in events][-1]["choices"][0]["finish_reason"] in ("stop", "length")
    assert tally.loss is not None


def test_a_token_that_was_not_drawn_here_is_not_released() -> None:
    """As with a deployment whose parties draw by themselves: the sampler is never asked."""
    draw = PrivateDraw(rule=TokenRule.model_validate(TOKEN))
    with pytest.raises(UpstreamFailed, match="not drawn privately"):
        draw.check(1, 3)
    draw.drawn.append(3)
    draw.check(1, 3)
    with pytest.raises(UpstreamFailed):
        draw.check(1, 4)


async def test_a_policy_for_another_vocabulary_is_refused(server: MpcServer) -> None:
    with pytest.raises(UpstreamFailed, match="vocabulary"):
        await MpcBackend(server).complete(routed(TOKEN | {"vocabulary_size": 49_152}))


def test_a_rule_that_leaves_the_admitted_path_is_refused() -> None:
    with pytest.raises(PolicyRefusal, match="path"):
        routed(target="vllm", routing={"default": "mpc"})


def test_an_answer_of_the_other_server_needs_its_proof() -> None:
    one = replace(routed(), target="vllm")
    with pytest.raises(UpstreamFailed, match="never proved"):
        noise(Answered(one, {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}, None), Tally())
