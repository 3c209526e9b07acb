"""A structured answer leaves at its fixed time, and a failing model server is no error there."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.errors import UpstreamFailed
from gateway.exchange import Admitted, ConversationScope, Json, Principal, PrivateAdmission, Received, Routed, Scrubbed, ServedModel
from gateway.stages.infer import infer
from policies.schema import Policy

LEAF = {"type": "boolean", "x-dp": {"mechanism": "randomized_response", "epsilon": 1.0}}
SHAPE = {"type": "object", "properties": {"a": LEAF}}
AFTER_S = 0.6


class Server:
    """Answers after `seconds`, or fails."""

    def __init__(self, seconds: float, *, fails: bool = False) -> None:
        self._seconds = seconds
        self._fails = fails
        self.cancelled = False

    async def complete(self, routed: Routed) -> Json:
        try:
            await asyncio.sleep(self._seconds)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self._fails:
            raise UpstreamFailed("down")
        return {"choices": []}

    def stream(self, routed: Routed) -> AsyncIterator[Json]:
        raise AssertionError("a structured answer is never streamed from the model")

    async def proven_vocabulary(self, model: str) -> int:
        raise AssertionError("nothing is drawn in the model server")

    async def pooled(self, routed: Routed) -> Json:
        raise AssertionError("not an ensemble")


def routed(**mechanism: Any) -> Routed:
    dp = {"mechanism": {"kind": "structured", "json_schema": SHAPE} | mechanism, "budget": {"epsilon": 10.0}}
    policy = Policy.model_validate({"id": "p", "dp": dp})
    received = Received("r", "chat.completions", Principal("t", "k"), {}, received_unix_s=time.time())
    admitted = Admitted(received, policy, 1, ServedModel("m", "m", "vllm"), PrivateAdmission("id", 10))
    return Routed(Scrubbed(admitted, ConversationScope("t", "k", "c"), {}, (), (), {}), "vllm", "m", {})


async def timed(server: Server, one: Routed) -> tuple[Json | None, float]:
    begun = time.monotonic()
    answered = await infer(one, {"vllm": server}, lambda body: None, server)
    return answered.body, time.monotonic() - begun


@pytest.mark.parametrize(
    ("server", "body"),
    [(Server(0.0), {"choices": []}), (Server(0.2), {"choices": []}), (Server(0.0, fails=True), None), (Server(30.0), None)],
)
async def test_fast_slow_and_failed_answers_leave_at_the_same_time(server: Server, body: Json | None) -> None:
    found, seconds = await timed(server, routed(answer_after_s=AFTER_S))
    assert found == body
    assert AFTER_S - 0.05 <= seconds < AFTER_S + 0.4  # a busy machine wakes late


async def test_a_server_that_is_too_slow_is_let_go() -> None:
    server = Server(30.0)
    await timed(server, routed(answer_after_s=0.05))
    assert server.cancelled


async def test_without_a_fixed_time_the_answer_leaves_when_it_is_there() -> None:
    assert await timed(Server(0.0), routed()) == ({"choices": []}, pytest.approx(0.0, abs=0.3))
    assert (await timed(Server(0.0, fails=True), routed()))[0] is None
