"""A private answer rebuilt from nothing: the drawn text, why it ended, and the caller's names for things.

Flow: `stages.noise` reads the checked upstream answer with `text_of` and sends what `whole`, `chunk` and `as_events` make. Whatever
else the server said (token counts of the prompt, ids, fingerprints) is not part of the mechanism's output, so it is left behind.
Not covered: the number of chunks and when they come.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every answer or chunk of one request carries; `chat` tells the two APIs apart."""

    chat: bool
    model: str
    created_unix_s: int
    id: str = field(default_factory=lambda: secrets.token_hex(12))

    def whole(self, text: str, finish_reason: str) -> Json:
        """A whole answer with one choice."""
        choice: Json = {"index": 0, "finish_reason": finish_reason, "logprobs": None}
        choice |= {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        return {**self._head("chat.completion" if self.chat else "text_completion"), "choices": [choice]}

    def chunk(self, piece: str, finish_reason: str | None, *, first: bool = False) -> Json:
        """One event of a stream."""
        choice: Json = {"index": 0, "finish_reason": finish_reason, "logprobs": None}
        delta: Json = ({"role": "assistant"} if first else {}) | ({"content": piece} if piece or first else {})
        choice |= {"delta": delta} if self.chat else {"text": piece}
        return {**self._head("chat.completion.chunk" if self.chat else "text_completion"), "choices": [choice]}

    async def as_events(self, text: str, finish_reason: str) -> AsyncGenerator[Json, None]:
        """A whole answer as a stream of two events, for a client that asked for one where the mechanism releases at once."""
        yield self.chunk(text, None, first=True)
        yield self.chunk("", finish_reason)

    def _head(self, kind: str) -> Json:
        prefix = "chatcmpl" if self.chat else "cmpl"
        return {"id": f"{prefix}-{self.id}", "object": kind, "created": self.created_unix_s, "model": self.model}


def text_of(answer: Mapping[str, Any]) -> tuple[str, str | None]:
    """The text of the first choice of an answer or event, and its finish_reason. Empty where there is none."""
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    said = choice.get("message") or choice.get("delta") or choice
    text = said.get("content") if "content" in said else said.get("text")
    return (text if isinstance(text, str) else ""), choice.get("finish_reason")
