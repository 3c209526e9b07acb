"""The caller's side: tokens to shares, shares to an answer, one token at a time.

`Client.generate` embeds its own tokens, sends one share to each party,
adds the two answers, applies the final norm and the head, draws, and
yields. Only this process sees text, tokens or logits. It does NOT hide from the parties how many tokens a request has, nor when they come.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpc_inference import errors, prg, transport
from mpc_inference.config import Deployment
from mpc_inference.llama import plain, scales
from mpc_inference.llama.shape import read_shape
from mpc_inference.llama.weights import read_weights
from mpc_inference.sampling import Sampling
from mpc_inference.tokens import ChatTokens

_CLIENT_TENSORS = ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")


@dataclass(frozen=True)
class Piece:
    """One drawn token. text: what it adds to the answer (may be empty inside a character); finish: "stop" or "length" on the last."""

    token: int
    text: str
    finish: str | None
    prompt_tokens: int
    completion_tokens: int


class _Pair:
    """One request's two connections. Blocking; runs in a worker thread."""

    def __init__(self, deployment: Deployment) -> None:
        self.links: list[transport.Link] = []
        self._deadline_s = deployment.deadline_s
        self.greetings: list[dict[str, Any]] = []
        try:
            for party, endpoint in enumerate(deployment.parties):
                link = transport.connect(
                    endpoint.host, endpoint.port, deployment.certificates, "client", f"party{party}", deployment.deadline_s
                )
                self.links.append(link)
                self.greetings.append(transport.greet(link, deployment.digest))
        except errors.MpcError:
            self.close()
            raise

    def open(self, prefix: int, tokens: int) -> None:
        name = secrets.token_hex(16)
        for link in self.links:
            link.send_control({"open": name, "prefix": prefix, "tokens": tokens})

    def step(self, embedded: np.ndarray[Any, np.dtype[np.float32]], deadline_s: float) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The last row's hidden state (hidden,) for embedded tokens (rows, hidden)."""
        ints = np.rint(embedded.astype(np.float64) * 2**scales.RESIDUAL).astype(np.int64).view(np.uint64)
        first = prg.uniform_words(*ints.shape)
        for link, share in zip(self.links, (first, ints - first), strict=True):
            link.set_deadline(deadline_s)
            link.send_control({"step": len(ints)})
            link.send(transport.WORDS, share.tobytes())
        total = np.zeros(ints.shape[1], np.uint64)
        for link in self.links:
            message = link.receive_control()
            if "error" in message:
                raise _typed(message)
            total += np.frombuffer(link.receive(transport.WORDS), np.uint64)
        return np.asarray(total.view(np.int64) / 2**scales.RESIDUAL)

    def close(self) -> None:
        for link in self.links:
            link.abort()
            link.close()


def _typed(message: Mapping[str, Any]) -> errors.MpcError:
    text = str(message.get("message", "the party refused"))
    kind = getattr(errors, str(message.get("error")), errors.ProtocolError)
    if kind is errors.Busy:
        return errors.Busy(text, float(message.get("retry_after_s", 5.0)))
    return kind(text) if isinstance(kind, type) and issubclass(kind, errors.MpcError) else errors.ProtocolError(text)


class Client:
    """A caller of one deployment. Thread-safe; holds embedding and head in memory (113 MB for SmolLM2-135M)."""

    def __init__(self, deployment: Deployment) -> None:
        """Reads the model directory's tokenizer, embedding and head. Raises ModelUnsupported."""
        self._deployment = deployment
        self.tokens = ChatTokens(deployment.model)
        self._shape = read_shape(deployment.model)
        self._weights = read_weights(deployment.model, _CLIENT_TENSORS)
        self._prefix = self.tokens.public_prefix()

    @property
    def context_tokens(self) -> int:
        """Most tokens of prompt and answer together."""
        return self._deployment.context_tokens

    def public_tokens(self, prompt: Sequence[int]) -> int:
        """How many leading tokens are sent as public: the whole template prefix, or its first token only.

        Never a length in between, which would tell how far a private system prompt agrees with the template.
        """
        whole = tuple(prompt[: len(self._prefix)]) == self._prefix and len(prompt) > len(self._prefix)
        return len(self._prefix) if whole else 1

    def logits(self, hidden: np.ndarray[Any, Any]) -> plain.F32:
        """Logits (vocab,) of one reconstructed hidden state."""
        return np.asarray(plain.logits(self._shape, self._weights, hidden.astype(np.float32)[None])[0])

    async def generate(
        self,
        prompt: Sequence[int],
        *,
        max_tokens: int,
        sampling: Sampling | None = None,
        stop: Sequence[str] = (),
        deadline_s: float | None = None,
    ) -> AsyncIterator[Piece]:
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
        pair = await asyncio.to_thread(_Pair, self._deployment)
        try:
            await asyncio.to_thread(pair.open, prefix, len(prompt) - prefix + max_tokens)
            fresh, answer, said = list(prompt[prefix:]), list[int](), ""
            for count in range(1, max_tokens + 1):
                left = self._left(until, len(fresh))
                hidden = await asyncio.to_thread(pair.step, self._weights["model.embed_tokens.weight"][fresh], left)
                token = draw.draw(self.logits(hidden), len(prompt) + count)
                ended = token in self.tokens.end_tokens
                if not ended:
                    answer.append(token)
                text = self.tokens.decode(answer)
                cut = min((text.find(s) for s in stop if s and s in text), default=-1)
                final = "stop" if ended or cut >= 0 else "length" if count == max_tokens else None
                shown = text[:cut] if cut >= 0 else text if final else self._settled(text, stop)
                yield Piece(token, shown[len(said) :], final, len(prompt), len(answer))
                said = shown if len(shown) > len(said) else said
                if final:
                    return
                fresh = [token]
        finally:
            pair.close()

    def _left(self, until: float | None, rows: int) -> float:
        most = self._deployment.deadline_s + rows * 2.0 + self._deployment.queue_requests * 5.0
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
    """Both parties' counters (see `Party.status`). Blocking. Raises PeerUnavailable, HandshakeRefused."""
    pair = _Pair(deployment)
    try:
        out = []
        for link in pair.links:
            link.send_control({"status": True})
            out.append(link.receive_control())
        return out
    finally:
        pair.close()
