"""Every error of the engine has its answer, and a fault of ours never leaves a caller waiting."""

import asyncio
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.backends.mpc import MpcBackend, translated
from gateway.errors import BadRequest, Unavailable, UpstreamFailed, UpstreamTimeout
from gateway.exchange import Admitted, ConversationScope, Principal, Received, Routed, Scrubbed, ServedModel
from mpc_inference import errors
from mpc_inference.client import Piece
from policies.schema import Policy

PLACE = "party0 at a.example:9501"


@pytest.mark.parametrize(
    ("error", "kind", "status", "code"),
    [
        (errors.ContextTooLong("9 prompt tokens"), BadRequest, 400, "context_length_exceeded"),
        (errors.InvalidSampling("temperature must lie between 0 and 2"), BadRequest, 400, "bad_request"),
        (errors.RequestRefused("no"), BadRequest, 400, "bad_request"),
        (errors.Busy("full", 7.0), Unavailable, 503, "unavailable"),
        (errors.DeadlineExceeded(PLACE), UpstreamTimeout, 504, "upstream_timeout"),
        (errors.SessionLost(PLACE), Unavailable, 503, "unavailable"),
        (errors.PeerUnavailable(PLACE), UpstreamFailed, 502, "upstream_failed"),
        (errors.HandshakeRefused(PLACE), UpstreamFailed, 502, "upstream_failed"),
        (errors.FrameInvalid(PLACE), UpstreamFailed, 502, "upstream_failed"),
        (errors.ModelUnsupported(PLACE), UpstreamFailed, 502, "upstream_failed"),
    ],
)
def test_every_error_has_its_answer_and_names_no_host(error: errors.MpcError, kind: type[Exception], status: int, code: str) -> None:
    answer = translated(error)
    assert isinstance(answer, kind)
    assert (answer.status, answer.code) == (status, code)
    assert "a.example" not in answer.message
    if isinstance(error, errors.Busy):
        assert answer.retry_after_s == 7.0


class Tokens:
    def chat(self, messages: Any) -> list[int]:
        return [1, 2, 3]


class Engine:
    """A client whose `generate` is the test's."""

    tokens = Tokens()
    first_token = 1
    context_tokens = 64

    def __init__(self, fault: Exception | None) -> None:
        self.fault = fault
        self.closed = 0

    async def generate(self, prompt: Any, *, max_tokens: int, **more: Any) -> AsyncGenerator[Piece]:
        try:
            yield Piece(5, "one", None, len(prompt), 1)
            await asyncio.sleep(0.01)
            if self.fault is not None:
                raise self.fault
            yield Piece(6, " two", "stop", len(prompt), 2)
        finally:
            self.closed += 1


def routed(**body: Any) -> Routed:
    asked = {"messages": [{"role": "user", "content": "x"}], **body}
    received = Received("req", "chat.completions", Principal("t", "k"), asked)
    admitted = Admitted(received, Policy(id="x"), 1, ServedModel("smollm2-mpc", "smollm2-mpc", "mpc"))
    scrubbed = Scrubbed(admitted, ConversationScope("t", "k", "c"), asked, (), (), {})
    return Routed(scrubbed, "mpc", "smollm2-mpc", asked)


def backend(engine: Engine) -> MpcBackend:
    return MpcBackend(SimpleNamespace(client=engine))  # type: ignore[arg-type]


async def test_several_answers_come_whole_in_their_order() -> None:
    engine = Engine(None)
    answer = await backend(engine).complete(routed(n=3))
    assert [(c["index"], c["message"]["content"], c["finish_reason"]) for c in answer["choices"]] == [
        (i, "one two", "stop") for i in range(3)
    ]
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9}
    assert engine.closed == 3


@pytest.mark.parametrize(
    ("fault", "error"),
    [(errors.PeerUnavailable("gone"), UpstreamFailed), (ValueError("a fault of ours"), ValueError)],
    ids=["theirs", "ours"],
)
async def test_the_first_failure_ends_all_answers_at_once(fault: Exception, error: type[Exception]) -> None:
    engine = Engine(fault)
    async with asyncio.timeout(5):
        with pytest.raises(error):
            await backend(engine).complete(routed(n=2))
    assert engine.closed == 2


async def test_closing_a_stream_closes_what_draws_for_it() -> None:
    engine = Engine(None)
    stream: Any = backend(engine).stream(routed(n=2, stream=True))
    assert (await anext(stream))["choices"][0]["delta"] == {"role": "assistant", "content": "one"}
    await stream.aclose()
    assert engine.closed == 2
