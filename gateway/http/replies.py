"""Writes JSON replies and errors on the wire, in OpenAI's form.

Every reply of the API goes through here, so that an error's body comes from `gateway.errors` alone and carries no text of a request.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.types import Send

from gateway.errors import LlmosError

JSON = b"application/json"


async def send_json(send: Send, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
    """A whole reply."""
    payload = orjson.dumps(body)
    raw = [(b"content-type", JSON), (b"content-length", b"%d" % len(payload))]
    if headers:
        raw += [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": payload})


def error_headers(error: LlmosError) -> dict[str, str]:
    """Retry-After (RFC 9110, section 10.2.3) on 429 and 503, and the OpenAI SDK's `x-should-retry` where it is decided."""
    headers = dict(error.headers)
    if error.retry_after_s is not None or error.status in (429, 503):
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s or 1.0)))
    if error.should_retry is not None:
        headers["x-should-retry"] = "true" if error.should_retry else "false"
    return headers


async def send_error(send: Send, error: LlmosError) -> None:
    """An error before anything else was sent."""
    await send_json(send, error.status, error.body(), error_headers(error))
