"""A stream of /v1/chat/completions or /v1/completions, restored chunk by chunk.

Each (choice, field) has its own filter, since pieces of several texts come interleaved. What a filter still holds is released before the
choice's `finish_reason`, before the stream's end, and when a choice goes on from reasoning to content. One chunk comes out for about
one that goes in; a chunk whose text is wholly held back says nothing and is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.exchange import AnswerText, Json
from gateway.fields.answer_logprobs import LogprobGate
from gateway.fields.answers import CHAT_CHUNK, COMPLETION, read_shape

_SPOKEN = ("reasoning", "reasoning_content", "content", "refusal", "text")


class ChoiceStream:
    """Restores the chunks of one answer. `model` is the name that the caller used.

    Usage is always asked of the model server, for the limits and the audit; `show_usage` says that the caller asked for it too.
    """

    def __init__(self, open_text: Callable[[bool], AnswerText], *, chat: bool, model: str, show_usage: bool) -> None:
        self._open = open_text
        self._chat = chat
        self._model = model
        self._show_usage = show_usage
        self._shape = CHAT_CHUNK if chat else COMPLETION
        self._spoken: dict[int, dict[str, AnswerText]] = {}  # choice → field → its filter
        self._calls: dict[int, dict[int, AnswerText]] = {}  # choice → tool call → the filter of its arguments
        self._logprobs: dict[int, LogprobGate] = {}
        self._envelope: Json = {}

    async def event(self, chunk: Json) -> list[Json]:
        """The chunks to release for one chunk of the model server."""
        clean, _ = read_shape(self._shape, chunk)
        clean["model"] = self._model
        self._envelope = {name: clean[name] for name in ("id", "object", "created", "model") if name in clean}
        choices = clean.get("choices") or []
        usage = clean.pop("usage", None)
        if usage is not None and self._show_usage:
            clean["usage"] = usage
        says_something = "usage" in clean
        for choice in choices:
            says_something |= await self._choice(choice)
        return [clean] if says_something else []

    async def end(self) -> list[Json]:
        """What is still held back when the stream ends without a finish_reason."""
        chunks = []
        for index in sorted(self._spoken.keys() | self._calls.keys()):
            choice: Json = {"index": index, "finish_reason": None}
            said: Json = choice
            if self._chat:
                said = choice["delta"] = {}
            await self._flush(index, said)
            if said.get("text") or choice.get("delta"):
                chunks.append({**self._envelope, "choices": [choice]})
        return chunks

    async def _choice(self, choice: Json) -> bool:
        """Restore one choice in place; whether anything in it is worth a chunk."""
        index = choice.get("index") or 0
        if self._chat and not isinstance(choice.get("delta"), dict):
            choice["delta"] = {}
        said = choice["delta"] if self._chat else choice
        came = said.get("content" if self._chat else "text") or ""
        for name in _SPOKEN:
            piece = said.get(name)
            if piece:
                tails = await self._leave_others(index, name, said)
                said[name] = await self._spoken_filter(index, name).feed(piece)
                said.update(tails)
        for position, call in enumerate(said.get("tool_calls") or ()):
            await self._call(index, call, position)
        if isinstance(function := said.get("function_call"), dict) and function.get("arguments"):
            function["arguments"] = await self._call_filter(index, -1).feed(function["arguments"])
        if choice.get("finish_reason"):
            await self._flush(index, said)
        self._let_logprobs(index, choice, came, said)
        if choice.get("stop_reason") and isinstance(choice["stop_reason"], str):
            choice["stop_reason"] = await self._open(False).whole(choice["stop_reason"])
        if choice.get("finish_reason") or choice.get("logprobs"):
            return True
        if not self._chat:
            return bool(said.get("text"))
        return any(bool(value) for value in said.values())

    def _let_logprobs(self, index: int, choice: Json, came: str, said: Json) -> None:
        logprobs = choice.get("logprobs")
        gate = self._logprobs.get(index)
        if gate is None:
            if not logprobs:
                return
            gate = self._logprobs[index] = LogprobGate()
        choice["logprobs"] = gate.pass_on(came, said.get("content" if self._chat else "text") or "", logprobs)

    async def _call(self, index: int, call: Any, position: int) -> None:
        if not isinstance(call, dict) or not isinstance(function := call.get("function"), dict):
            return
        if function.get("arguments"):
            number = call.get("index")
            text = self._call_filter(index, number if isinstance(number, int) else position)
            function["arguments"] = await text.feed(function["arguments"])

    def _spoken_filter(self, index: int, name: str) -> AnswerText:
        fields = self._spoken.setdefault(index, {})
        if name not in fields:
            fields[name] = self._open(False)
        return fields[name]

    def _call_filter(self, index: int, number: int) -> AnswerText:
        calls = self._calls.setdefault(index, {})
        if number not in calls:
            calls[number] = self._open(True)
        return calls[number]

    async def _leave_others(self, index: int, name: str, said: Json) -> Json:
        """A choice that begins to speak in another field has finished the one before: the tails of those."""
        fields = self._spoken.get(index)
        if not fields or (len(fields) == 1 and name in fields):
            return {}
        tails = {}
        for other in [each for each in fields if each != name and not said.get(each)]:
            tail = await fields.pop(other).finish()
            if tail:
                tails[other] = tail
        return tails

    async def _flush(self, index: int, said: Json) -> None:
        for name, text in self._spoken.pop(index, {}).items():
            tail = await text.finish()
            if tail:
                said[name] = (said.get(name) or "") + tail
        for number, text in self._calls.pop(index, {}).items():
            tail = await text.finish()
            if not tail:
                continue
            if number < 0:
                function = said.setdefault("function_call", {})
                function["arguments"] = (function.get("arguments") or "") + tail
                continue
            calls = said.get("tool_calls") or []
            said["tool_calls"] = calls
            call = next((each for each in calls if each.get("index") == number), None)
            if call is None:
                call = {"index": number, "function": {}}
                calls.append(call)
            function = call.setdefault("function", {})
            function["arguments"] = (function.get("arguments") or "") + tail
