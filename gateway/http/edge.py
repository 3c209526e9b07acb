"""The edge of the application: what holds for every request, whatever serves it.

Each reply carries a request id of our own and, once the gateway is stopping, asks the client to open its next connection anew. A
client's `x-request-id` is not taken over, since it could carry text into logs and the audit. No exception gets past here: the server
would log its message, which may hold text.
"""

from __future__ import annotations

import secrets
import traceback

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import LlmosError
from gateway.http.replies import send_error

REQUEST_ID = "llmos.request_id"  # the key in the ASGI scope
FAULT = "The gateway failed; nothing more is shown here. An operator finds the request id in the log."

_log = structlog.get_logger(__name__)


def log_fault(error: BaseException, request_id: str) -> None:
    """Log a fault of our own by its type and places: its message may hold text of a request."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = [f"{frame.filename.rpartition('/site-packages/')[2]}:{frame.lineno}" for frame in frames]
    _log.error("fault", request_id=request_id, fault=type(error).__name__, places=places)


class Edge:
    """ASGI middleware, the outermost."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = "req_" + secrets.token_hex(12)
        scope[REQUEST_ID] = request_id
        state = scope["app"].state  # read here: below a mount the scope names the mounted application
        header = (b"x-request-id", request_id.encode())
        begun = False

        async def send_with_id(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                leaving = (b"connection", b"close") if state.draining else None
                message["headers"] = [*message.get("headers", ()), header, *([leaving] if leaving else [])]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            log_fault(error, request_id)
            if not begun:
                await send_error(send_with_id, LlmosError(FAULT))
