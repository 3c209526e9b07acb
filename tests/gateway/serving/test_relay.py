"""The relay between a client and a real HTTP server on loopback."""

import asyncio
import contextlib

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway.serving.free_ports import free_port
from gateway.serving.relay import Relay


class Upstream:
    def __init__(self):
        self.bodies = []
        self.cancelled = asyncio.Event()

    async def echo(self, request):
        body = await request.body()
        self.bodies.append(body)
        return Response(body, 201, {"x-upstream": "yes"})

    async def events(self, request):
        async def generate():
            try:
                for number in range(1000):
                    yield f"data: {number}\n\n"
                    await asyncio.sleep(0.02)
            finally:
                self.cancelled.set()

        return StreamingResponse(generate(), media_type="text/event-stream")

    async def models(self, request):
        return JSONResponse({"path": request.url.path, "query": request.url.query, "key": request.headers.get("authorization")})


class Server(uvicorn.Server):
    def __init__(self, app, port):
        super().__init__(uvicorn.Config(app, port=port, log_level="error", ws="none"))
        self.is_up = asyncio.Event()

    async def startup(self, sockets=None):
        await super().startup(sockets)
        self.is_up.set()

    @contextlib.contextmanager
    def capture_signals(self):
        yield


@pytest.fixture
async def upstream():
    port = free_port()
    upstream = Upstream()
    routes = [
        Route("/v1/echo", upstream.echo, methods=["POST"]),
        Route("/v1/events", upstream.events),
        Route("/v1/models", upstream.models),
    ]
    server = Server(Starlette(routes=routes), port)
    task = asyncio.create_task(server.serve())
    await asyncio.wait_for(server.is_up.wait(), 10)
    upstream.url = f"http://127.0.0.1:{port}/v1"
    yield upstream
    server.should_exit = server.force_exit = True
    await task


@pytest.fixture
async def relay(upstream):
    relay = Relay(upstream.url)
    task = asyncio.create_task(relay.serve())
    async with httpx.AsyncClient(base_url=relay.base_url, timeout=10) as client:
        while True:
            with contextlib.suppress(httpx.ConnectError):
                await client.get("/models")
                break
            await asyncio.sleep(0.01)
        relay.client = client
        yield relay
    relay.stop()
    await asyncio.wait_for(task, 10)


async def test_it_records_the_bytes_that_it_forwards_and_only_while_open(relay, upstream):
    await relay.client.post("/echo", content=b"before")
    with relay.recording() as records:
        answer = await relay.client.post("/echo", content=b'{"x": "\xc3\xa9"}')
        await relay.client.get("/models")
    await relay.client.post("/echo", content=b"after")
    assert records == [b'{"x": "\xc3\xa9"}']
    assert upstream.bodies == [b"before", *records, b"after"]
    assert (answer.status_code, answer.content, answer.headers["x-upstream"]) == (201, records[0], "yes")


async def test_path_query_and_credentials_pass(relay):
    answer = await relay.client.get("/models?a=1", headers={"Authorization": "Bearer k"})
    assert answer.json() == {"path": "/v1/models", "query": "a=1", "key": "Bearer k"}


async def test_a_stream_passes_as_it_comes_and_its_end_reaches_the_upstream(relay, upstream):
    async with relay.client.stream("GET", "/events") as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == "data: 0"
        assert not upstream.cancelled.is_set()
    await asyncio.wait_for(upstream.cancelled.wait(), 10)


async def test_an_upstream_that_is_down_is_a_502():
    relay = Relay("http://127.0.0.1:1/v1")
    task = asyncio.create_task(relay.serve())
    async with httpx.AsyncClient(base_url=relay.base_url, timeout=10) as client:
        for _ in range(200):
            with contextlib.suppress(httpx.ConnectError):
                answer = await client.get("/models")
                break
            await asyncio.sleep(0.01)
    assert answer.status_code == 502
    relay.stop()
    await asyncio.wait_for(task, 10)
