"""Bounds what a client can make a worker hold: bytes of a body, time to send it, requests at once.

A body that says it is too long is refused before it is read. The shape of the JSON (depth, counts) is bounded where it is read as a
request (`gateway.fields`) and by the parser. It does not limit a key's use over time; policies do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import orjson
from starlette.types import Receive, Scope

from gateway.errors import BadRequest, TooLarge, Unavailable
from gateway.exchange import Json

BODY_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Limits of one worker."""

    max_body_bytes: int
    request_timeout_s: float
    max_concurrent_requests: int
    metrics_need_key: bool = False  # whether /metrics asks for a key whose role may read it
    may_show_sent: bool = False  # whether a client may see what went to the model in place of its words


class Gate:
    """Counts the requests in progress, and can end them. `stopping` is true once it has.

    It stands before authentication, so nobody is known in whose audit it could stand that a request was turned away. To learn who asked
    and to write it down would cost the store up to two round trips for each request of an overload, when it has the least to spare; such
    requests are only counted. A key's or a tenant's own limits are looked at after authentication, and their refusals are audited.
    """

    def __init__(self, max_concurrent_requests: int) -> None:
        self._free = self._size = max_concurrent_requests
        self.changed: Callable[[int], object] = lambda in_progress: None
        self.turned_away: Callable[[], object] = lambda: None
        self._deadlines: set[asyncio.Timeout] = set()
        self.stopping = False

    @asynccontextmanager
    async def admit(self, timeout_s: float) -> AsyncIterator[asyncio.Timeout]:
        """The deadline of one request. Raises Unavailable when the gate is full, TimeoutError at the deadline."""
        if self._free <= 0:
            self.turned_away()
            raise Unavailable("The gateway is at its limit of requests in progress; try again shortly.", retry_after_s=1.0)
        self._free -= 1
        self.changed(self._size - self._free)
        try:
            async with asyncio.timeout(timeout_s) as deadline:
                self._deadlines.add(deadline)
                try:
                    yield deadline
                finally:
                    self._deadlines.discard(deadline)
        finally:
            self._free += 1
            self.changed(self._size - self._free)

    def stop(self) -> None:
        """Bring every request in progress to its end now."""
        self.stopping = True
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(asyncio.get_running_loop().time())


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """The body. Raises TooLarge over `max_bytes`, BadRequest if it does not arrive in time or breaks off."""
    too_large = TooLarge(f"The request body is larger than {max_bytes} bytes.")
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value) > max_bytes):
            raise too_large
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise BadRequest("The connection closed before the body was complete.")
                part = message.get("body", b"")
                size += len(part)
                if size > max_bytes:
                    raise too_large
                parts.append(part)
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        raise BadRequest(f"The request body did not arrive within {BODY_TIMEOUT_S:.0f} seconds.") from None


def parse_body(raw: bytes) -> Json:
    """The JSON object of a body. Raises BadRequest; the message gives a position, never content.

    orjson refuses invalid UTF-8 and unpaired surrogates, and nesting beyond 1,024 levels.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        reason = "is nested too deeply" if "ecursion" in error.msg else f"is not valid JSON in UTF-8 ({place})"
        raise BadRequest(f"The request body {reason}.") from None
    if not isinstance(body, dict):
        raise BadRequest("The request body must be a JSON object.")
    return body
