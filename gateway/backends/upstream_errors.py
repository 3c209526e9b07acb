"""Turns a model server's refusal into one of our errors without repeating its words.

A server's message may quote the request, so only what is known to be harmless is kept: the status, a field's name, and the two
numbers of a context overflow. It does not judge whether the server was right.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from gateway.errors import BadRequest, LlmosError, RateLimited, TooLarge, Unavailable, UnknownModel, UpstreamFailed

_FIELD = re.compile(r"[a-z_][a-z0-9_.\[\]]{0,63}")
_CONTEXT = re.compile(r"maximum context length is (\d{1,9})|max_model_len[^0-9]{0,40}(\d{1,9})", re.IGNORECASE)
_MAX_RETRY_AFTER_S = 60.0


class ContextTooLong(TooLarge):
    """The prompt with the answer that was asked for does not fit the model's context."""

    status, code = 400, "context_length_exceeded"


def refusal(status: int, body: bytes, retry_after: str | None) -> LlmosError:
    """The error for an answer with this HTTP status (400 or more) and this body."""
    message, param = _read(body)
    where = f" (field `{param}`)" if param else ""
    if status == 429:
        return RateLimited("The model server is at its limit; try again later.", retry_after_s=_seconds(retry_after))
    if status == 503:
        return Unavailable("The model server is not ready; try again later.", retry_after_s=_seconds(retry_after))
    if status in (401, 403):
        return UpstreamFailed("The model server refused the gateway's own key; an operator must mend LLMOS_UPSTREAM_API_KEY.")
    if overflow := _CONTEXT.search(message):
        tokens = overflow.group(1) or overflow.group(2)
        return ContextTooLong(f"The prompt and the answer asked for do not fit the model's context of {tokens} tokens.", param=param)
    if status == 404:
        return UnknownModel("The model server does not serve this model, or not for this kind of request.", param="model")
    if 400 <= status < 500:
        said = f"The model server refused the request with status {status}{where}. Its words are not repeated here."
        return BadRequest(said, param=param)
    return UpstreamFailed(f"The model server failed with status {status}.")


def in_stream(event: Any) -> UpstreamFailed:
    """The error for an error event inside a stream."""
    return UpstreamFailed("The model server reported an error inside its answer; the answer was broken off.")


def _read(body: bytes) -> tuple[str, str | None]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", None
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    if not isinstance(error, dict):
        return "", None
    message, param = error.get("message"), error.get("param")
    return (
        message[:2000] if isinstance(message, str) else "",
        param if isinstance(param, str) and _FIELD.fullmatch(param) else None,
    )


def _seconds(retry_after: str | None) -> float:
    try:
        return min(max(float(retry_after or 1.0), 0.0), _MAX_RETRY_AFTER_S)
    except ValueError:  # an HTTP date: any other wait is as good
        return 1.0
