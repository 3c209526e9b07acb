"""What of an answer is released: known fields only, and among them the texts that are restored.

Laid over a model server's body like `gateway.fields.kinds` over a request, but lenient: an unknown field is dropped, never passed on
(vLLM's `prompt_text` would show stand-ins). `stages.restore` and the stream readers use the shapes below.
It does not restore anything itself. Function names and ids are copied as the model server wrote them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.errors import UpstreamFailed
from gateway.exchange import Api, Json


@dataclass(slots=True)
class AnswerLeaf:
    """`container[key]` is a text of the answer; `json_text` says that it is itself JSON."""

    container: Any
    key: Any
    json_text: bool


class Shape(Protocol):
    """Reads `value` into `out[key]` and notes its texts."""

    def read(self, out: Any, key: Any, value: Any, leaves: list[AnswerLeaf]) -> None: ...


@dataclass(frozen=True, slots=True)
class Copied:
    """Numbers, flags, ids, closed words, usage."""

    def read(self, out: Any, key: Any, value: Any, leaves: list[AnswerLeaf]) -> None:
        out[key] = value


@dataclass(frozen=True, slots=True)
class Restored:
    """A text."""

    json_text: bool = False

    def read(self, out: Any, key: Any, value: Any, leaves: list[AnswerLeaf]) -> None:
        out[key] = value
        if isinstance(value, str):
            if value:
                leaves.append(AnswerLeaf(out, key, self.json_text))
        elif value is not None and not isinstance(value, int):  # a stop_reason may be a token id
            raise UpstreamFailed("The model server's answer has something else where text belongs; the answer was dropped.")


@dataclass(frozen=True, slots=True)
class Members:
    """A list of one shape."""

    member: Shape

    def read(self, out: Any, key: Any, value: Any, leaves: list[AnswerLeaf]) -> None:
        if not isinstance(value, list):
            out[key] = None
            return
        out[key] = copy = [None] * len(value)
        for index, each in enumerate(value):
            self.member.read(copy, index, each, leaves)


@dataclass(frozen=True, slots=True)
class Fields:
    """An object of known fields; the rest is dropped."""

    fields: Mapping[str, Shape]

    def read(self, out: Any, key: Any, value: Any, leaves: list[AnswerLeaf]) -> None:
        if not isinstance(value, dict):
            out[key] = None
            return
        copy: dict[str, Any] = {}
        out[key] = copy
        known = self.fields
        for name, each in value.items():
            shape = known.get(name)
            if shape is not None:
                shape.read(copy, name, each, leaves)


_COPY = Copied()
_TEXT = Restored()
_ARGUMENTS = Restored(json_text=True)
_FUNCTION = Fields({"name": _COPY, "arguments": _ARGUMENTS})
_TOOL_CALLS = Members(Fields({"index": _COPY, "id": _COPY, "type": _COPY, "function": _FUNCTION}))
_MESSAGE: dict[str, Shape] = {
    "role": _COPY,
    "content": _TEXT,
    "reasoning": _TEXT,
    "reasoning_content": _TEXT,
    "refusal": _TEXT,
    "tool_calls": _TOOL_CALLS,
    "function_call": _FUNCTION,
}
_ENVELOPE: dict[str, Shape] = dict.fromkeys(("id", "object", "created", "model", "service_tier", "system_fingerprint", "usage"), _COPY)
_CHOICE: dict[str, Shape] = {"index": _COPY, "finish_reason": _COPY, "stop_reason": _TEXT, "logprobs": _COPY}

CHAT_ANSWER = Fields({**_ENVELOPE, "choices": Members(Fields({**_CHOICE, "message": Fields(_MESSAGE)}))})
CHAT_CHUNK = Fields({**_ENVELOPE, "choices": Members(Fields({**_CHOICE, "delta": Fields(_MESSAGE)}))})
COMPLETION = Fields({**_ENVELOPE, "choices": Members(Fields({**_CHOICE, "text": _TEXT}))})
EMBEDDING = Fields(
    {**_ENVELOPE, "data": Members(Fields({"index": _COPY, "object": _COPY, "embedding": _COPY}))},
)

RESPONSE_PART = Fields({"type": _COPY, "text": _TEXT, "refusal": _TEXT, "annotations": Members(Fields({}))})
_ITEM: dict[str, Shape] = {
    "id": _COPY,
    "type": _COPY,
    "role": _COPY,
    "status": _COPY,
    "phase": _COPY,
    "call_id": _COPY,
    "name": _COPY,
    "arguments": _ARGUMENTS,
    "content": Members(RESPONSE_PART),
    "summary": Members(RESPONSE_PART),
}
RESPONSE_ITEM = Fields(_ITEM)
_COPIED_OF_RESPONSE = (
    *("id", "created_at", "object", "model", "status", "incomplete_details", "usage", "service_tier", "background", "reasoning"),
    *("parallel_tool_calls", "tool_choice", "temperature", "top_p", "presence_penalty", "frequency_penalty", "truncation"),
    *("max_output_tokens", "max_tool_calls"),
)
RESPONSE = Fields({**dict.fromkeys(_COPIED_OF_RESPONSE, _COPY), "output": Members(RESPONSE_ITEM)})
"""What a response repeats of its request (`instructions`, `tools`, `text`, …) is not here: see `repeat_request`."""

_REPEATED = ("instructions", "tools", "text", "metadata", "user", "safety_identifier", "prompt_cache_key")
_REPEATED_DEFAULTS: Json = {"tools": [], "metadata": {}}

WHOLE: dict[Api, Shape] = {
    "chat.completions": CHAT_ANSWER,
    "completions": COMPLETION,
    "responses": RESPONSE,
    "embeddings": EMBEDDING,
}


def read_answer(api: Api, body: Json) -> tuple[Json, list[AnswerLeaf]]:
    """The fields of a whole answer that are released, and its texts. Raises UpstreamFailed for a body that is no object."""
    return read_shape(WHOLE[api], body)


def read_shape(shape: Shape, body: Any) -> tuple[Json, list[AnswerLeaf]]:
    """`body` through `shape`. Raises UpstreamFailed for a body that is no object."""
    leaves: list[AnswerLeaf] = []
    holder: list[Any] = [None]
    shape.read(holder, 0, body, leaves)
    if holder[0] is None:
        raise UpstreamFailed("The model server's answer is not a JSON object; the answer was dropped.")
    return holder[0], leaves


def repeat_request(response: Json, request: Json) -> None:
    """Give a response object of /v1/responses the caller's own fields that such an object repeats."""
    for name in _REPEATED:
        response[name] = request.get(name) or _REPEATED_DEFAULTS.get(name)
    response["previous_response_id"] = None
    response["store"] = False
