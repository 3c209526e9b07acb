"""The four endpoints that reach a model: one ASGI application each, all alike but for the API's name.

It is raw ASGI instead of a FastAPI route, because validation models would cost more than the rest of the gateway together, and because
`send` gives back-pressure: it returns when the client's connection has room. A client that goes away, and the request's deadline, both end
the request by the same cancellation, which closes the upstream connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from gateway.errors import LlmosError, Unavailable, UpstreamTimeout
from gateway.exchange import Api, Json
from gateway.http import sse
from gateway.http.edge import FAULT, REQUEST_ID, log_fault
from gateway.http.limits import Gate, WireLimits, parse_body, read_body
from gateway.http.replies import send_error, send_json
from gateway.pipeline import Parts, serve

CONVERSATION_HEADER = b"x-llmos-conversation"
_SHOW_SENT = sse.SHOW_SENT_HEADER.encode()
_MAX_CONVERSATION_BYTES = 256


class InferenceEndpoint:
    """One API. `parts` is read at each request from the application's state, where the lifespan puts it."""

    def __init__(self, api: Api, limits: WireLimits, gate: Gate) -> None:
        self._api = api
        self._limits = limits
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts: Parts = scope["app"].state.parts
        call = WireCall(self._api, scope, receive, send, self._limits)
        try:
            async with self._gate.admit(self._limits.request_timeout_s) as deadline:
                call.deadline = deadline
                await serve(call, parts)
        except LlmosError as error:
            await call.refuse(error)
        except TimeoutError:
            if self._gate.stopping:
                await call.refuse(Unavailable("The gateway is stopping; send the request again.", retry_after_s=1.0))
            elif not call.client_is_gone:
                await call.refuse(UpstreamTimeout(f"The answer was not complete within {self._limits.request_timeout_s:.0f} seconds."))
        except Exception as error:
            log_fault(error, call.request_id)
            await call.refuse(LlmosError(FAULT))
        finally:
            call.stop_watching()


class WireCall:
    """One request on the wire, as the pipeline sees it (`gateway.pipeline.Call`)."""

    def __init__(self, api: Api, scope: Scope, receive: Receive, send: Send, limits: WireLimits) -> None:
        self.api = api
        self.request_id: str = scope.get(REQUEST_ID, "")
        self.authorization: str | None = None
        self.peer: str = (scope.get("client") or ("",))[0]
        self.conversation: str | None = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                self.authorization = value.decode("latin-1")
            elif name == CONVERSATION_HEADER:
                self.conversation = value[:_MAX_CONVERSATION_BYTES].decode("latin-1") or None
        self.client_is_gone = False
        self._sent: Json | None = None
        self.deadline: asyncio.Timeout | None = None
        self._scope = scope
        self._receive = receive
        self._send = send
        self._max_body_bytes = limits.max_body_bytes
        self._show_sent = limits.may_show_sent and any(name == _SHOW_SENT for name, _ in scope["headers"])
        self._begun = False
        self._ended = False
        self._watch: asyncio.Task[None] | None = None

    async def body(self) -> tuple[Json, int]:
        """The parsed body and its size in bytes; from here on the client is watched for going away."""
        raw = await read_body(self._scope, self._receive, self._max_body_bytes)
        self._watch = asyncio.create_task(self._watch_client())
        return parse_body(raw), len(raw)

    def goes_upstream(self, body: Json) -> None:
        """Keep what goes to the model for a client that asked to see it, where the deployment allows that."""
        if self._show_sent:
            self._sent = body

    async def deliver_whole(self, body: Json, headers: Mapping[str, str]) -> None:
        """Send a whole answer."""
        self._begun = self._ended = True
        await send_json(self._send, 200, body, headers)

    async def deliver_event(self, event: Json, headers: Mapping[str, str]) -> None:
        """Send one event; the first brings the status and headers along."""
        if not self._begun:
            await self._begin(headers)
        await self._send({"type": "http.response.body", "body": sse.frame(self.api, event), "more_body": True})

    async def deliver_end(self) -> None:
        """End a stream."""
        if not self._begun:
            await self._begin({})
        self._ended = True
        await self._send({"type": "http.response.body", "body": b"" if self.api == "responses" else sse.DONE})

    async def refuse(self, error: LlmosError) -> None:
        """Send an error: as a reply, or as a stream's last event. Nothing where the answer is complete or nobody is there."""
        if self._ended or self.client_is_gone:
            return
        self._ended = True
        if self._begun:
            await self._send({"type": "http.response.body", "body": sse.error_frame(error)})
        else:
            await send_error(self._send, error)

    def stop_watching(self) -> None:
        """The request is over."""
        if self._watch is not None:
            self._watch.cancel()

    async def _begin(self, headers: Mapping[str, str]) -> None:
        self._begun = True
        sent, self._sent = self._sent, None
        extra = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": sse.HEADERS + extra})
        if sent is not None:
            await self._send({"type": "http.response.body", "body": sse.sent_frame(sent), "more_body": True})

    async def _watch_client(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._ended and self.deadline is not None:
            self.client_is_gone = True
            self.deadline.reschedule(asyncio.get_running_loop().time())
