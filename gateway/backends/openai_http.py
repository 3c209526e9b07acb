"""Speaks to vLLM, or any other OpenAI-compatible server, over HTTP.

The pipeline's `infer` stage hands it a `Routed` and nothing else: no header, cookie or key of a client can come this way. Closing the
iterator of `stream` closes the connection, which is how vLLM learns that nobody wants the rest. Reading waits for the reader: at most
one network buffer is held. It does not check that the server is the one that was meant; use https and a private network for that.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

from gateway.backends.sse_reader import SseReader
from gateway.backends.upstream_errors import in_stream, refusal
from gateway.errors import UnknownModel, UpstreamFailed, UpstreamTimeout
from gateway.exchange import Api, Json, Routed
from gateway.fields.stream_responses import TERMINAL_EVENTS

PATHS: dict[Api, str] = {
    "chat.completions": "/chat/completions",
    "completions": "/completions",
    "responses": "/responses",
    "embeddings": "/embeddings",
}
_KEEP_ALIVE_S = 3.0  # under uvicorn's 5 s: a server must not close a connection that we are about to use
_BUFFER_BYTES = 2**16
_MAX_ANSWER_BYTES = 64 * 2**20
_MAX_ERROR_BYTES = 2**16
_DONE = b"[DONE]"


class OpenAIServer:
    """One server and its pool of connections. Close it with `aclose`."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        *,
        connect_timeout_s: float,
        idle_timeout_s: float,
        max_connections: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._headers = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "llmos"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s, sock_read=idle_timeout_s)
        self._max_connections = max_connections
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:  # made here because a session belongs to the running event loop
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._max_connections, keepalive_timeout=_KEEP_ALIVE_S, ssl=True if self._tls is None else self._tls
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                headers=self._headers,
                read_bufsize=_BUFFER_BYTES,
            )
        return self._session

    @asynccontextmanager
    async def send(self, method: str, path: str, body: Json | None = None) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response with status 200. Raises UpstreamFailed, UpstreamTimeout, or what `upstream_errors` makes of a refusal."""
        data = None if body is None else orjson.dumps(body)
        url = path if path.startswith("http") else self.base_url + path
        try:
            async with self._opened().request(method, url, data=data, allow_redirects=False) as response:
                if response.status != 200:
                    text = await response.content.read(_MAX_ERROR_BYTES)
                    raise refusal(response.status, text, response.headers.get("retry-after"))
                yield response
        except TimeoutError:
            raise UpstreamTimeout("The model server did not answer in time.") from None
        except aiohttp.ClientConnectorError:
            raise UpstreamFailed("The model server can't be reached.") from None
        except aiohttp.ClientError:  # its text may quote bytes of the answer
            raise UpstreamFailed("The connection to the model server broke.") from None

    async def whole(self, method: str, path: str, body: Json | None = None) -> Any:
        """The JSON of a whole answer."""
        async with self.send(method, path, body) as response:
            return _parsed(await _read_bounded(response))

    async def models(self) -> list[Json]:
        """The server's own listing, `GET /models`."""
        listing = await self.whole("GET", "/models")
        data = listing.get("data") if isinstance(listing, dict) else None
        if not isinstance(data, list):
            raise UpstreamFailed("The model server's list of models is not of OpenAI's form.")
        return [each for each in data if isinstance(each, dict) and isinstance(each.get("id"), str)]


class OpenAIBackend:
    """The backend of target `vllm`: one server that generates, and perhaps one that embeds."""

    def __init__(self, generating: OpenAIServer, embedding: OpenAIServer | None) -> None:
        self._generating = generating
        self._embedding = embedding

    async def complete(self, routed: Routed) -> Json:
        """The whole answer to a request without `stream`."""
        api = routed.scrubbed.admitted.received.api
        body = await self._server(api).whole("POST", PATHS[api], routed.body)
        if not isinstance(body, dict):
            raise UpstreamFailed("The model server's answer is not a JSON object.")
        return body

    async def stream(self, routed: Routed) -> AsyncIterator[Json]:
        """The events of a streamed answer, `[DONE]` left out. Raises UpstreamFailed where it breaks off before its end."""
        api = routed.scrubbed.admitted.received.api
        reader = SseReader()
        async with self._server(api).send("POST", PATHS[api], routed.body) as response:
            if not response.content_type.startswith("text/event-stream"):
                raise UpstreamFailed("The model server did not stream although it was asked to.")
            async for chunk in response.content.iter_any():
                for data in reader.feed(chunk):
                    if data == _DONE:
                        return
                    event = _parsed(data)
                    if not isinstance(event, dict):
                        raise UpstreamFailed("The model server sent an event that is not a JSON object.")
                    if event.get("error") or event.get("type") == "error":
                        raise in_stream(event)
                    yield event
                    if event.get("type") in TERMINAL_EVENTS:
                        return
        raise UpstreamFailed("The model server broke its answer off.")

    def _server(self, api: Api) -> OpenAIServer:
        if api != "embeddings":
            return self._generating
        if self._embedding is None:
            raise UnknownModel("No embedding model is configured here; an operator can set LLMOS_EMBEDDINGS_UPSTREAM.", param="model")
        return self._embedding


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    if (response.content_length or 0) > _MAX_ANSWER_BYTES:
        raise UpstreamFailed("The model server's answer is too large.")
    parts, size = [], 0
    async for chunk in response.content.iter_any():
        parts.append(chunk)
        size += len(chunk)
        if size > _MAX_ANSWER_BYTES:
            raise UpstreamFailed("The model server's answer is too large.")
    return b"".join(parts)


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        raise UpstreamFailed("The model server sent something that is not JSON.") from None
