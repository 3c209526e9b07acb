"""The caller's side: tokens to shares, shares to an answer, one token at a time.

`Client.generate` turns its own tokens into a part for each party and adds the two answers to the next token (caller.py says how for each
mode). Only this process sees text or tokens. It does NOT hide from the parties how many tokens a request has, nor when they come.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from mpc_inference import errors
from mpc_inference.caller import caller
from mpc_inference.config import Deployment, Terms
from mpc_inference.pair import Direct, Lanes, Pair, party_link
from mpc_inference.sampling import Sampling
from mpc_inference.tokens import ChatTokens

_T = TypeVar("_T")


@dataclass(frozen=True)
class Piece:
    """One drawn token. text: what it adds to the answer (may be empty inside a character); finish: "stop" or "length" on the last."""

    token: int
    text: str
    finish: str | None
    prompt_tokens: int
    completion_tokens: int


class Client:
    """A caller of one deployment. Thread-safe; holds embedding and head in memory (113 MB for SmolLM2-135M)."""

    def __init__(self, terms: Terms, connect: Callable[[int], Lanes]) -> None:
        """Reads the model directory's tokenizer (open weights: embedding and head too); `connect` opens the lanes for so many tokens.

        Raises ModelUnsupported.
        """
        self._terms, self._connect = terms, connect
        self.tokens = ChatTokens(terms.model)
        self._caller = caller(terms)
        self._prefix = self.tokens.public_prefix()
        self._threads = ThreadPoolExecutor(terms.queue_requests + 4, thread_name_prefix="mpc-client")

    @classmethod
    def direct(cls, deployment: Deployment) -> Client:
        """A client with links of its own to both parties."""
        return cls(deployment, lambda tokens: Direct(deployment))

    def close(self) -> None:
        """Let the worker threads go; requests in progress end with an error."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def context_tokens(self) -> int:
        """Most tokens of prompt and answer together."""
        return self._terms.context_tokens

    @property
    def row_bytes(self) -> int:
        """What each party is sent for one token."""
        return self._caller.row_bytes

    @property
    def first_token(self) -> int:
        """The token that every prompt begins with; its position runs in the clear."""
        return self._prefix[0]

    def public_tokens(self, prompt: Sequence[int]) -> int:
        """How many leading tokens are sent as public: the whole template prefix, or its first token only.

        Never a length in between, which would tell how far a private system prompt agrees with the template.
        """
        whole = tuple(prompt[: len(self._prefix)]) == self._prefix and len(prompt) > len(self._prefix)
        return len(self._prefix) if whole else 1

    async def generate(
        self,
        prompt: Sequence[int],
        *,
        max_tokens: int,
        sampling: Sampling | None = None,
        stop: Sequence[str] = (),
        deadline_s: float | None = None,
    ) -> AsyncGenerator[Piece]:
        """Yield tokens until an end token, a stop text, or max_tokens.

        deadline_s bounds the whole request. Closing the iterator (or cancelling its task) cancels the request at the parties.
        A prompt must begin as the template does. Raises ContextTooLong, InvalidSampling, Busy, DeadlineExceeded, PeerUnavailable,
        HandshakeRefused, SessionLost.
        """
        if not prompt or prompt[0] != self._prefix[0]:
            raise errors.RequestRefused("the prompt does not begin with the template's first token: build it with ChatTokens.chat")
        if max_tokens < 1:
            raise errors.InvalidSampling("max_tokens must be at least 1")
        prefix = self.public_tokens(prompt)
        if len(prompt) < 2 or len(prompt) + max_tokens > self.context_tokens:
            raise errors.ContextTooLong(
                f"{len(prompt)} prompt tokens and {max_tokens} to answer do not fit {self.context_tokens}: shorten one of them"
            )
        draw, until = sampling or Sampling(), time.monotonic() + deadline_s if deadline_s else None
        temperature = self._caller.temperature(draw)
        pair = Pair(await self._run(self._connect, len(prompt) + max_tokens))
        try:
            await self._run(pair.open, prefix, len(prompt) - prefix + max_tokens, temperature)
            fresh, answer, said = list(prompt[prefix:]), list[int](), ""
            for count in range(1, max_tokens + 1):
                left = self._left(until, len(fresh))
                token = await self._run(self._next, pair, fresh, left, draw, len(prompt) + count)
                ended = token in self.tokens.end_tokens
                if not ended:
                    answer.append(token)
                text = self.tokens.decode(answer)
                cut = min((text.find(s) for s in stop if s and s in text), default=-1)
                final = "stop" if ended or cut >= 0 else "length" if count == max_tokens else None
                shown = text[:cut] if cut >= 0 else text if final else self._settled(text, stop)
                if final:
                    await self._run(pair.finish)
                yield Piece(token, shown[len(said) :], final, len(prompt), len(answer))
                said = shown if len(shown) > len(said) else said
                if final:
                    return
                fresh = [token]
        finally:
            pair.close()

    def _next(self, pair: Pair, fresh: Sequence[int], deadline_s: float, draw: Sampling, position: int) -> int:
        """Send the fresh tokens' shares, and draw the token that follows them."""
        return self._caller.next(pair.step(len(fresh), self._caller.split(fresh), deadline_s), draw, position)

    async def _run(self, work: Callable[..., _T], *given: object) -> _T:
        """Blocking work, on the client's own threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *given)

    def _left(self, until: float | None, rows: int) -> float:
        most = self._terms.deadline_s + rows * 2.0 + self._terms.queue_requests * 5.0
        if until is None:
            return most
        left = until - time.monotonic()
        if left <= 0:
            raise errors.DeadlineExceeded("the request's deadline has passed")
        return min(left, most)

    @staticmethod
    def _settled(text: str, stop: Sequence[str]) -> str:
        """Text that no later token can change: without a half character or the start of a stop text."""
        end = len(text)
        while end and text[end - 1] == "\ufffd":
            end -= 1
        for s in stop:
            for size in range(min(len(s) - 1, end), 0, -1):
                if text.endswith(s[:size], 0, end):
                    end -= size
                    break
        return text[:end]


def statuses(deployment: Deployment) -> list[dict[str, Any]]:
    """Both parties' counters. Blocking. Raises PeerUnavailable, HandshakeRefused, DeadlineExceeded."""
    return [party_status(deployment, party) for party in (0, 1)]


def party_status(deployment: Deployment, party: int) -> dict[str, Any]:
    """One party's counters (see `Party.status`). Blocking. Raises the same."""
    link = party_link(deployment, party)
    try:
        link.send_control({"status": True})
        return link.receive_control()
    finally:
        link.close()
