"""Reads a routed request for secret-shared inference: what is honoured becomes a `Job`, anything else is refused by name.

Honoured: messages (text), prompt, temperature, top_p, seed, max_tokens, max_completion_tokens, n, stop, stream. A field whose value
asks for nothing (a penalty of 0, an empty list of tools) passes. It tokenises nothing and knows no context length; the backend does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import BadRequest
from gateway.exchange import Api, Json

MAX_CHOICES = 8
COMPLETION_TOKENS = 16  # of /v1/completions where no bound is given, as OpenAI documents it
_HONOURED = frozenset(
    ("messages", "prompt", "model", "temperature", "top_p", "seed", "max_tokens", "max_completion_tokens", "n", "stop", "stream")
)
# No effect on an answer of this path, or none beyond what always happens here.
_WITHOUT_EFFECT = frozenset(
    ("stream_options", "store", "service_tier", "parallel_tool_calls", "include_reasoning", "reasoning_effort", "truncation_side")
)
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "add_generation_prompt": (True,),
    "best_of": (1,),
    "frequency_penalty": (0,),
    "length_penalty": (1,),
    "min_p": (0,),
    "min_tokens": (0,),
    "modalities": (["text"],),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "response_format": ({"type": "text"},),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "tool_choice": ("none", "auto"),
    "top_k": (-1, 0),
}


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be drawn. Exactly one of `messages` and `prompts` is set."""

    messages: tuple[Mapping[str, str], ...] | None = field(repr=False)
    prompts: tuple[str, ...] = field(repr=False)
    temperature: float
    top_p: float
    seed: int | None
    max_tokens: int | None  # None: what the context leaves
    choices: int  # of each prompt
    stop: tuple[str, ...] = field(repr=False)


def read_job(api: Api, body: Json) -> Job:
    """Raises BadRequest naming the field that this path does not offer."""
    if api not in ("chat.completions", "completions"):
        raise BadRequest("Secret-shared inference serves /v1/chat/completions and /v1/completions only.", param="model")
    for name, value in body.items():
        if name not in _HONOURED and name not in _WITHOUT_EFFECT and value and value not in _NEUTRAL.get(name, ()):
            raise BadRequest(f"`{name}` is not available in secret-shared inference; leave it out.", param=name)
    chat = api == "chat.completions"
    max_tokens = _whole(body, "max_completion_tokens", 1)
    if max_tokens is None:
        max_tokens = _whole(body, "max_tokens", 1)
    prompt = body.get("prompt")
    job = Job(
        messages=tuple(_message(each, f"messages[{at}]") for at, each in enumerate(body["messages"])) if chat else None,
        prompts=() if chat else (prompt,) if isinstance(prompt, str) else tuple(prompt or ()),
        temperature=_number(body, "temperature", 1.0),
        top_p=_number(body, "top_p", 1.0),
        seed=_whole(body, "seed"),
        max_tokens=max_tokens if chat or max_tokens is not None else COMPLETION_TOKENS,
        choices=_whole(body, "n", 1) or 1,
        stop=_texts(body.get("stop")),
    )
    if (1 if chat else len(job.prompts)) * job.choices > MAX_CHOICES:
        raise BadRequest(f"Secret-shared inference draws at most {MAX_CHOICES} answers in one request; ask for fewer.", param="n")
    if not chat and not job.prompts:
        raise BadRequest("`prompt` is empty.", param="prompt")
    return job


def _message(message: Json, where: str) -> Mapping[str, str]:
    role = message.get("role")
    if role in ("tool", "function") or message.get("tool_calls") or message.get("function_call"):
        raise BadRequest("Tool calls are not available in secret-shared inference; leave them out of `messages`.", param=where)
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text") or part.get("refusal") or "") for part in content)
    return {"role": "system" if role == "developer" else str(role), "content": str(content or "")}


def _texts(value: Any) -> tuple[str, ...]:
    listed: Sequence[Any] = [value] if isinstance(value, str) else value or ()
    return tuple(each for each in listed if isinstance(each, str) and each)


def _number(body: Json, name: str, default: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequest(f"`{name}` must be a number.", param=name)
    return float(value)


def _whole(body: Json, name: str, least: int | None = None) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or (least is not None and value < least):
        raise BadRequest(f"`{name}` must be a whole number{'' if least is None else f' of at least {least}'}.", param=name)
    return value
