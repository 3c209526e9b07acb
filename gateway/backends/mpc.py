"""Secret-shared inference as a model server: the backend of target `mpc`.

The gateway is the client of the two compute parties here (`mpc_inference.client`): it tokenises the scrubbed messages, sends each party one
share, and draws the tokens itself, with randomness of the operating system unless the caller gives a seed. The parties see how many tokens
a request has and when they come, never one of them. Closing the iterator of `stream` cancels the request at both.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from gateway.backends.mpc_private import PrivateDraw
from gateway.backends.mpc_request import Job, read_job
from gateway.backends.upstream_errors import ContextTooLong
from gateway.errors import BadRequest, LlmosError, PolicyRefusal, Unavailable, UpstreamFailed, UpstreamTimeout
from gateway.exchange import Json, Routed
from mpc_inference import errors
from mpc_inference.client import Client, Piece, statuses
from mpc_inference.config import read_config
from mpc_inference.sampling import Sampling
from policies.dp import TokenRule

_ASK_TIMEOUT_S = 2.0  # for a party to say how it does
_RETRY_S = 2.0  # about what a new epoch of the parties takes
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Draw:
    """One answer to be drawn."""

    index: int
    prompt: Sequence[int]
    max_tokens: int
    sampling: Sampling


class MpcServer:
    """One deployment of MPC inference, and a client of it. Close it with `close`."""

    def __init__(self, config: Path) -> None:
        """Reads the deployment file and the model's tokenizer, embedding and head. Raises MpcError."""
        self.deployment = read_config(config)
        self.client = Client.direct(self.deployment)
        self._asked = self.deployment.model_copy(update={"deadline_s": min(_ASK_TIMEOUT_S, self.deployment.deadline_s)})

    def close(self) -> None:
        """Let the client's threads go."""
        self.client.close()

    async def ready(self) -> None:
        """Both parties stand with the dealer. Raises UpstreamFailed, UpstreamTimeout, Unavailable."""
        try:
            both = await asyncio.to_thread(statuses, self._asked)
        except errors.MpcError as error:
            raise translated(error) from None
        if not all(one["ready"] for one in both):
            raise Unavailable("The MPC parties wait for each other or for the dealer.", retry_after_s=_RETRY_S)


class MpcBackend:
    """The backend of target `mpc`. `observe` is told the seconds from token to token."""

    def __init__(self, server: MpcServer, observe: Callable[[float], None] = lambda seconds: None) -> None:
        self._client = server.client
        self._observe = observe

    async def complete(self, routed: Routed) -> Json:
        """The whole answer. Raises BadRequest, ContextTooLong, Unavailable, UpstreamFailed, UpstreamTimeout."""
        answer = _Answer(routed)
        texts: dict[int, str] = {}
        last: dict[int, Piece] = {}
        async with aclosing(self._drawn(routed)) as drawn:
            async for index, piece in drawn:
                texts[index] = texts.get(index, "") + piece.text
                last[index] = piece
                answer.count(index, piece)
        return answer.whole([(texts[index], last[index].finish) for index in sorted(texts)])

    async def stream(self, routed: Routed) -> AsyncIterator[Json]:
        """The same as OpenAI's events; the last one carries the usage."""
        answer = _Answer(routed)
        async with aclosing(self._drawn(routed)) as drawn:
            async for index, piece in drawn:
                yield answer.chunk(index, piece, first=answer.count(index, piece))
        yield answer.usage_chunk()

    def _draws(self, routed: Routed) -> tuple[Job, list[_Draw]]:
        job = read_job(routed.scrubbed.admitted.received.api, routed.body)
        tokens, first = self._client.tokens, self._client.first_token
        # position 0 runs in the clear, so a bare text begins with the template's first token, which says nothing
        texts = [[first, *tokens.encode(text)] for text in job.prompts]
        prompts = texts if job.messages is None else [tokens.chat(job.messages)]
        draws: list[_Draw] = []
        for prompt in prompts:
            left = self._client.context_tokens - len(prompt)
            if left < 1:
                raise ContextTooLong(f"The prompt's {len(prompt)} tokens do not fit the context of {self._client.context_tokens} tokens.")
            for _ in range(job.choices):
                seed = None if job.seed is None else job.seed + len(draws)
                sampling = _private(routed) or Sampling(job.temperature, job.top_p, seed)
                draws.append(_Draw(len(draws), prompt, job.max_tokens or left, sampling))
        return job, draws

    async def _drawn(self, routed: Routed) -> AsyncGenerator[tuple[int, Piece]]:
        """Each token of each answer as it is drawn. The first failure ends them all."""
        arrived: asyncio.Queue[tuple[int, Piece] | Exception | None] = asyncio.Queue()

        async def draw(one: _Draw, stop: tuple[str, ...]) -> None:
            try:
                pieces = self._client.generate(one.prompt, max_tokens=one.max_tokens, sampling=one.sampling, stop=stop)
                async with aclosing(pieces):
                    before_s, count = time.monotonic(), 0
                    async for piece in pieces:
                        now_s = time.monotonic()
                        self._observe(now_s - before_s)
                        before_s, count = now_s, count + 1
                        if isinstance(one.sampling, PrivateDraw):
                            one.sampling.check(count, piece.token)
                            piece = replace(piece, completion_tokens=count)  # the end token is a draw, and is paid
                        arrived.put_nowait((one.index, piece))
                arrived.put_nowait(None)
            except Exception as error:  # whatever it is, the reader must not wait for more
                arrived.put_nowait(error)

        try:
            job, draws = self._draws(routed)
        except errors.MpcError as error:
            raise translated(error) from None
        tasks = [asyncio.create_task(draw(one, job.stop)) for one in draws]
        try:
            running = len(tasks)
            while running:
                item = await arrived.get()
                if isinstance(item, Exception):
                    raise translated(item) if isinstance(item, errors.MpcError) else item
                if item is None:
                    running -= 1
                else:
                    yield item
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _private(routed: Routed) -> PrivateDraw | None:
    """The policy's token mechanism, where the request was admitted under one."""
    admitted = routed.scrubbed.admitted
    if admitted.private is None:
        return None
    if admitted.policy.dp is None or not isinstance(admitted.policy.dp.mechanism, TokenRule):
        raise PolicyRefusal("This policy's differential privacy is not available on the secret-shared path.", param="model")
    return PrivateDraw(rule=admitted.policy.dp.mechanism)


class _Answer:
    """OpenAI's form of one answer, whole or in chunks."""

    def __init__(self, routed: Routed) -> None:
        self._chat = routed.scrubbed.admitted.received.api == "chat.completions"
        self._prompts: dict[int, int] = {}  # choice → tokens of its prompt
        self._completions: dict[int, int] = {}
        self._choices = int(routed.body.get("n") or 1)
        kind = ("chatcmpl-", "chat.completion") if self._chat else ("cmpl-", "text_completion")
        self._base = {"id": kind[0] + secrets.token_hex(12), "object": kind[1], "created": int(time.time()), "model": routed.model}

    def count(self, index: int, piece: Piece) -> bool:
        """Note the token counts; whether this was the choice's first piece."""
        first = index not in self._prompts
        self._prompts[index], self._completions[index] = piece.prompt_tokens, piece.completion_tokens
        return first

    def whole(self, answers: Sequence[tuple[str, str | None]]) -> Json:
        choices = [
            {"index": index, **({"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}), **_ending(finish)}
            for index, (text, finish) in enumerate(answers)
        ]
        return {**self._base, "choices": choices, "usage": self._usage()}

    def chunk(self, index: int, piece: Piece, *, first: bool) -> Json:
        role: Json = {"role": "assistant"} if first else {}
        said: Json = {"delta": {**role, "content": piece.text}} if self._chat else {"text": piece.text}
        return self._chunk([{"index": index, **said, **_ending(piece.finish)}])

    def usage_chunk(self) -> Json:
        return self._chunk([], usage=self._usage())

    def _chunk(self, choices: list[Json], **more: Any) -> Json:
        kind = {"object": "chat.completion.chunk"} if self._chat else {}
        return {**self._base, **kind, "choices": choices, **more}

    def _usage(self) -> Json:
        """A prompt counts once, however many answers were drawn to it."""
        prompt = sum(tokens for index, tokens in self._prompts.items() if index % self._choices == 0)
        completion = sum(self._completions.values())
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _ending(finish: str | None) -> Json:
    return {"finish_reason": finish, "logprobs": None}


def translated(error: errors.MpcError) -> LlmosError:
    """The gateway's error for one of the engine's. Its message names no host; the log has the kind."""
    match error:
        case errors.ContextTooLong():
            return ContextTooLong(f"The request does not fit the context of secret-shared inference: {error}.")
        case errors.RequestRefused():
            return BadRequest(f"Secret-shared inference refuses the request: {error}.")
        case errors.Busy():
            return Unavailable("The queue of secret-shared inference is full; try again later.", retry_after_s=error.retry_after_s)
    _log.warning("mpc_failed", fault=type(error).__name__)
    match error:
        case errors.DeadlineExceeded():
            return UpstreamTimeout("An MPC party or the dealer did not answer in time.")
        case errors.SessionLost():
            return Unavailable("The MPC parties lost the request's randomness; send the request again.", retry_after_s=_RETRY_S)
        case errors.PeerUnavailable():
            return UpstreamFailed("An MPC party or the dealer can't be reached.")
    return UpstreamFailed("The MPC parties and this gateway do not fit together; an operator finds the kind of fault in the log.")
