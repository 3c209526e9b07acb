"""A loopback relay between gateway and model server that shows what the model server was sent.

For the demonstration on one's own machine only (`llmos up --demo`). It forwards each request and answer byte for byte; while
`recording` is open the body that it forwards is kept too, in memory, and handed over once. It recomputes nothing: what
it shows is what left. Afterwards it keeps forwarding and keeps nothing.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit, urlunsplit

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

HOP_BY_HOP = frozenset(  # RFC 9110 section 7.6.1; host and content-length are set anew for the next hop
    (b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"proxy-connection", b"host", b"content-length")
)
CONNECT_TIMEOUT_S = 5.0
METHODS = ["GET", "POST", "DELETE", "PUT", "PATCH"]


class Relay:
    """Serves on a free loopback port while its context is open and forwards to `upstream_url` (…/v1)."""

    def __init__(self, upstream_url: str) -> None:
        self._upstream_url = upstream_url
        self._records: list[bytes] | None = None
        # no read timeout: the gateway in front has its own, and closes the connection
        self._client = httpx.AsyncClient(timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S), trust_env=False)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind(("127.0.0.1", 0))
        app = Starlette(routes=[Route("/{path:path}", self._forward, methods=METHODS)])
        self._server = _Server(
            uvicorn.Config(app, log_level="error", access_log=False, lifespan="off", ws="none", server_header=False, date_header=False)
        )

    @property
    def base_url(self) -> str:
        """What the gateway is given as its upstream."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}{urlsplit(self._upstream_url).path}"

    @contextlib.contextmanager
    def recording(self) -> Iterator[list[bytes]]:
        """The bodies of the POST requests forwarded inside the context, oldest first."""
        records: list[bytes] = []
        self._records = records
        try:
            yield records
        finally:
            self._records = None

    async def serve(self) -> None:
        """Until `stop`."""
        async with self._client:
            await self._server.serve([self._socket])

    def stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True

    async def _forward(self, request: Request) -> Response:
        body = await request.body()
        if self._records is not None and request.method == "POST":
            self._records.append(body)
        origin = urlsplit(self._upstream_url)
        url = urlunsplit((origin.scheme, origin.netloc, request.url.path, request.url.query, ""))
        headers = [(name, value) for name, value in request.headers.raw if name not in HOP_BY_HOP]
        try:
            answer = await self._client.send(self._client.build_request(request.method, url, headers=headers, content=body), stream=True)
        except httpx.HTTPError as error:
            return PlainTextResponse(f"the model server can't be reached: {type(error).__name__}", 502)
        forwarded = StreamingResponse(_raw(answer), answer.status_code, background=BackgroundTask(answer.aclose))
        forwarded.raw_headers = [(name.lower(), value) for name, value in answer.headers.raw if name.lower() not in HOP_BY_HOP]
        return forwarded


class _Server(uvicorn.Server):
    """Leaves the process's signal handlers to the supervisor."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _raw(answer: httpx.Response) -> AsyncIterator[bytes]:
    """The bytes as they came; closes the upstream's answer when the reader goes away, which cancels the request there."""
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()
