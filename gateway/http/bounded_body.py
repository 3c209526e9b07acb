"""ASGI middleware that reads a whole body within bounds before the application sees any of it.

For the applications whose framework would read a body of any size (administration, the console). The paths that reach a model
bound their bodies themselves (`gateway.http.limits`).
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import LlmosError
from gateway.http.limits import read_body
from gateway.http.replies import send_error

MAX_BYTES = 4 * 2**20  # a policy document is at most 256 KiB, a dry run 50,000 characters, a federation's state about 2 MiB


class BoundedBody:
    """Refuses a body over MAX_BYTES, or one that does not arrive in time, with the API's error."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        try:
            body = await read_body(scope, receive, MAX_BYTES)
        except LlmosError as refused:
            await send_error(send, refused)
            return
        waiting: list[Message] = [{"type": "http.request", "body": body}]

        async def replay() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, replay, send)
