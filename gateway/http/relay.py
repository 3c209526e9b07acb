"""POST /v1/mpc/relay: a blind request, as two streams of frames in one exchange.

A frame is a lane (one byte), a length (four bytes, big-endian) and a box. Lanes 0 and 1 are the parties; lane 2 is in the clear: first the
caller's opening, a JSON object with `model` and `tokens`, at the end perhaps our error in OpenAI's form. Body and answer run at the same
time, so a proxy in between must not buffer either.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping

import orjson
from starlette.types import Receive, Scope, Send

from gateway.blind import serve_blind
from gateway.errors import BadRequest, LlmosError, TooLarge, Unavailable, UpstreamTimeout
from gateway.exchange import Api, Json
from gateway.http.edge import FAULT, REQUEST_ID, log_fault
from gateway.http.limits import BODY_TIMEOUT_S, Gate, WireLimits, parse_body
from gateway.http.replies import send_error
from gateway.pipeline import Parts

CONTENT_TYPE = b"application/vnd.llmos.sealed"
OPENING = 2
_MAX_OPENING_BYTES = 4096
_MAX_BOX_BYTES = 1 << 24
_FRAME = struct.Struct("!BI")


class RelayEndpoint:
    """The ASGI application of the path."""

    def __init__(self, limits: WireLimits, gate: Gate) -> None:
        self._limits = limits
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts: Parts = scope["app"].state.parts
        call = RelayCall(scope, receive, send)
        try:
            async with self._gate.admit(self._limits.request_timeout_s):
                await serve_blind(call, parts)
        except LlmosError as error:
            await call.refuse(error)
        except TimeoutError:
            if self._gate.stopping:
                await call.refuse(Unavailable("The gateway is stopping; send the request again.", retry_after_s=1.0))
            else:
                await call.refuse(UpstreamTimeout(f"The request was not complete within {self._limits.request_timeout_s:.0f} seconds."))
        except Exception as error:
            log_fault(error, call.request_id)
            await call.refuse(LlmosError(FAULT))


class RelayCall:
    """One blind request on the wire (`gateway.blind.BlindCall`)."""

    api: Api = "mpc.relay"

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.request_id: str = scope.get(REQUEST_ID, "")
        self.authorization: str | None = None
        self.peer = (scope.get("client") or ("",))[0]
        for name, value in scope["headers"]:
            if name == b"authorization":
                self.authorization = value.decode("latin-1")
        self.client_is_gone = False
        self._receive = receive
        self._send = send
        self._buffer = bytearray()
        self._complete = False
        self._begun = False
        self._ended = False

    async def opening(self) -> tuple[Json, int]:
        """Raises BadRequest where the body does not begin with an opening in time."""
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                frame = await self._frame(_MAX_OPENING_BYTES)
        except TimeoutError:
            raise BadRequest(f"The opening did not arrive within {BODY_TIMEOUT_S:.0f} seconds.") from None
        if frame is None or frame[0] != OPENING:
            raise BadRequest("The body must begin with an opening on lane 2.")
        return parse_body(frame[1]), len(frame[1])

    async def next_box(self, max_bytes: int) -> tuple[int, bytes] | None:
        """Raises BadRequest, TooLarge."""
        frame = await self._frame(min(max(max_bytes, 0), _MAX_BOX_BYTES))
        if frame is not None and frame[0] not in (0, 1):
            raise BadRequest("A box must be on lane 0 or 1.")
        return frame

    async def _frame(self, max_bytes: int) -> tuple[int, bytes] | None:
        """The next frame, or None where the body ends or the client goes away. Cancelling it loses nothing."""
        while True:
            if len(self._buffer) >= _FRAME.size:
                lane, length = _FRAME.unpack_from(self._buffer)
                if length > max_bytes:
                    raise TooLarge("A frame is larger than the announced tokens need.", param="tokens")
                end = _FRAME.size + length
                if len(self._buffer) >= end:
                    box = bytes(self._buffer[_FRAME.size : end])
                    del self._buffer[:end]
                    return lane, box
            if self._complete:
                if self._buffer:
                    raise BadRequest("The body ended inside a frame.")
                return None
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.client_is_gone = True
                return None
            self._buffer += message.get("body", b"")
            self._complete = not message.get("more_body", False)

    async def begin(self, headers: Mapping[str, str]) -> None:
        """Status and headers; from here on both sides send boxes."""
        self._begun = True
        fixed = [(b"content-type", CONTENT_TYPE), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
        extra = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": fixed + extra})

    async def deliver_box(self, party: int, box: bytes) -> None:
        """One frame to the caller."""
        await self._send({"type": "http.response.body", "body": _FRAME.pack(party, len(box)) + box, "more_body": True})

    async def deliver_end(self) -> None:
        """The request is complete."""
        self._ended = True
        await self._send({"type": "http.response.body", "body": b""})

    async def refuse(self, error: LlmosError) -> None:
        """As a reply, or as the last frame."""
        if self._ended or self.client_is_gone:
            return
        self._ended = True
        if not self._begun:
            await send_error(self._send, error)
            return
        said = orjson.dumps(error.body())
        await self._send({"type": "http.response.body", "body": _FRAME.pack(OPENING, len(said)) + said})
