"""Writes server-sent events in OpenAI's forms.

Chat and completions send bare `data` lines and end with `[DONE]`; /v1/responses names each event. A failure after the 200 is an event whose
data has a truthy `error`: the OpenAI SDK raises it.
"""

from __future__ import annotations

import orjson

from gateway.errors import LlmosError
from gateway.exchange import Api, Json

HEADERS: list[tuple[bytes, bytes]] = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back otherwise
]
SHOW_SENT_HEADER = "x-llmos-show-sent"
SENT_COMMENT = ": llmos-sent "  # a comment line of the stream: OpenAI clients skip it
DONE = b"data: [DONE]\n\n"


def frame(api: Api, event: Json) -> bytes:
    """One event."""
    if api == "responses":
        return b"event: " + str(event.get("type", "message")).encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n"
    return b"data: " + orjson.dumps(event) + b"\n\n"


def sent_frame(body: Json) -> bytes:
    """What the model received, as a comment."""
    return SENT_COMMENT.encode() + orjson.dumps(body) + b"\n\n"


def error_frame(error: LlmosError) -> bytes:
    """The last event of a stream that failed."""
    return b"event: error\ndata: " + orjson.dumps(error.body()) + b"\n\n"
