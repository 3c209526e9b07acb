"""A gateway on a real port before a recording model server on another, with small parts behind the pipeline's ports.

`Planted` stands in for detection and pseudonyms: it knows a table of values and their stand-ins, so that a wire test says exactly
what must arrive where. The real parts are tested in tests/gateway/pii and tests/end_to_end.
"""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
import uvicorn
from redis.asyncio import Redis

from gateway.backends.catalogue import Catalogue
from gateway.backends.mpc import MpcBackend, MpcServer
from gateway.backends.mpc_catalogue import WithMpc
from gateway.backends.mpc_relay import MpcRelay
from gateway.backends.openai_http import OpenAIBackend, OpenAIServer
from gateway.backends.private_vllm import PrivateVllm
from gateway.errors import DetectorFailed, PolicyRefusal, RateLimited, StoreUnavailable
from gateway.exchange import IssuedValue, Principal, Span
from gateway.http.limits import WireLimits
from gateway.http.routes import Opened, assemble
from gateway.pipeline import Parts
from gateway.ports import Replaced
from gateway.stages.scrub import Bounds
from gateway.stores.ledger import RedisLedger
from policies.schema import Policy

KEY = "sk-llmos-test-0000"
MONITOR_KEY = "sk-llmos-test-monitor"  # Prometheus
KEY_OF_A_BANK = "sk-llmos-test-1111"  # another tenant
PLANTED = {
    "Sarah Connor": "Maria Jensen",
    "sarah.connor@cyberdyne.com": "maria.jensen@example.org",
    "4155550132": "4155550199",
    "李四": "王芳",
    'Eve "X" O\\Hara': "Anna Berg",
}
REMEMBERED = "4111 1111 1111 1111"  # what a model says by itself


@contextmanager
def running(app: Any) -> Iterator[int]:
    """Serve an ASGI app from a thread on a free port."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="auto", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline
        assert thread.is_alive()
        time.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(timeout=20)
    assert not thread.is_alive()


@dataclass
class Recorder:
    """A model server that keeps what it received. The model's name says how it behaves."""

    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    abandoned: int = 0
    sent_chunks: int = 0
    port: int = 0

    MODELS = (
        "echo", "tool", "cut", "slow", "bytes", "broken", "error-event", "fail-500", "fail-400", "fail-429", "not-json", "endless", "array",
        "think", "crlf", "pausing", "context", "memory",
    )  # fmt: skip

    @property
    def last(self) -> dict[str, Any]:
        return self.bodies[-1]

    def raw(self) -> str:
        return json.dumps([self.bodies, self.headers], ensure_ascii=False)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        raw = b""
        while True:
            message = await receive()
            raw += message.get("body", b"")
            if not message.get("more_body"):
                break
        path = scope["path"]
        if path == "/v1/models":
            await _reply(send, 200, {"object": "list", "data": [{"id": m, "object": "model", "owned_by": "vllm"} for m in self.MODELS]})
            return
        body = json.loads(raw)
        self.bodies.append(body)
        self.headers.append({k.decode(): v.decode() for k, v in scope["headers"]})
        await self._answer(path, body, receive, send)

    async def _answer(self, path: str, body: dict[str, Any], receive: Any, send: Any) -> None:
        model = body["model"]
        if model == "fail-500":
            await _reply(send, 500, {"error": {"message": "Maria Jensen broke it"}})
            return
        if model == "fail-400":
            await _reply(send, 400, {"error": {"message": "bad Maria Jensen", "param": "temperature"}})
            return
        if model == "fail-429":
            await _reply(send, 429, {"error": {"message": "busy"}}, [(b"retry-after", b"7")])
            return
        if model == "context":
            text = "This model's maximum context length is 2048 tokens. However, you requested 9999 tokens (Maria Jensen)."
            await _reply(send, 400, {"error": {"message": text}})
            return
        if model == "not-json":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
            await send({"type": "http.response.body", "body": b"<html>Maria Jensen"})
            return
        if model == "array":
            await _reply(send, 200, ["Maria Jensen"])
            return
        if model == "slow":
            await asyncio.sleep(30)
        if path == "/v1/chat/completions":
            await self._chat(body, receive, send)
        elif path == "/v1/completions":
            await self._completion(body, send)
        elif path == "/v1/responses":
            await self._response(body, send)
        elif path == "/v1/embeddings":
            inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
            data = [{"index": i, "object": "embedding", "embedding": [0.5, 0.25]} for i in range(len(inputs))]
            await _reply(send, 200, {"object": "list", "model": model, "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}})

    async def _chat(self, body: dict[str, Any], receive: Any, send: Any) -> None:
        model, text = body["model"], _last_text(body)
        if model == "memory":
            text = f"ask {REMEMBERED} about it"
        base = {"id": "chatcmpl-1", "created": 1, "model": model, "prompt_text": "Maria Jensen"}
        usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
        call = {"id": "call_1", "type": "function", "function": {"name": "mail", "arguments": json.dumps({"to": text, "n": 1})}}
        n = body.get("n") or 1
        if not body.get("stream"):
            message = {"role": "assistant", "content": text}
            if model == "tool":
                message = {"role": "assistant", "content": None, "tool_calls": [call]}
            if model == "think":
                message["reasoning"] = "hm " + text
            choices = [
                {"index": i, "message": message, "finish_reason": "stop", "logprobs": _logprobs(text) if body.get("logprobs") else None}
                for i in range(n)
            ]
            await _reply(send, 200, {**base, "object": "chat.completion", "choices": choices, "usage": usage})
            return

        def event(delta: Any, i: int = 0, finish: Any = None, **more: Any) -> bytes:
            choice = {"index": i, "delta": delta, "finish_reason": finish, **more}
            return _sse({**base, "object": "chat.completion.chunk", "choices": [choice]})

        size = 2 if model != "crlf" else 4
        pieces = [text[i : i + size] for i in range(0, len(text), size)]
        frames = [event({"role": "assistant", "content": ""}, i) for i in range(n)]
        if model == "think":
            frames += [event({"reasoning": piece}) for piece in pieces]
        if model == "tool":
            arguments = call["function"]["arguments"]
            head = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "mail", "arguments": ""}}
            frames.append(event({"tool_calls": [head]}))
            frames += [
                event({"tool_calls": [{"index": 0, "function": {"arguments": arguments[i : i + 3]}}]}) for i in range(0, len(arguments), 3)
            ]
        else:
            for piece in pieces:
                more = {"logprobs": _logprobs(piece)} if body.get("logprobs") else {}
                frames += [event({"content": piece}, i, **more) for i in range(n)]
        frames += [event({}, i, "stop") for i in range(n)]
        if (body.get("stream_options") or {}).get("include_usage"):
            frames.append(_sse({**base, "object": "chat.completion.chunk", "choices": [], "usage": usage}))
        frames.append(b"data: [DONE]\n\n")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        if model == "cut":
            frames = frames[: len(frames) // 2]
        if model == "broken":
            frames.insert(3, b'data: {"choices": [{"delta": {"content": "Maria Jen\n\n')
        if model == "error-event":
            frames.insert(3, _sse({"error": {"message": "Maria Jensen failed", "code": 500}}))
        stream = b": comment\n\n" + b"".join(frames)
        if model == "crlf":
            stream = stream.replace(b"\n", b"\r\n")
        if model == "endless":
            await self._endless(event, send, receive)
            return
        step = 1 if model == "bytes" else max(1, len(stream)) if model == "crlf" else 0
        chunks = [stream[i : i + step] for i in range(0, len(stream), step)] if step else frames
        for chunk in chunks:
            if model == "pausing":
                await asyncio.sleep(0.02)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            self.sent_chunks += 1
        if model == "cut":
            raise ConnectionResetError
        await send({"type": "http.response.body", "body": b""})

    async def _endless(self, event: Callable[..., bytes], send: Any, receive: Any) -> None:
        gone = asyncio.ensure_future(receive())
        self.sent_chunks = 0
        while not gone.done():
            await send({"type": "http.response.body", "body": event({"content": "x" * 2000}), "more_body": True})
            self.sent_chunks += 1
            await asyncio.sleep(0.0005)
        self.abandoned += 1

    async def _completion(self, body: dict[str, Any], send: Any) -> None:
        prompts = body["prompt"] if isinstance(body["prompt"], list) else [body["prompt"]]
        base = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": body["model"]}
        if not body.get("stream"):
            choices = [{"index": i, "text": p, "finish_reason": "stop"} for i, p in enumerate(prompts)]
            await _reply(send, 200, {**base, "choices": choices, "usage": {"prompt_tokens": 1, "total_tokens": 2}})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for i, prompt in enumerate(prompts):
            for at in range(0, len(prompt), 3):
                frame = _sse({**base, "choices": [{"index": i, "text": prompt[at : at + 3], "finish_reason": None}]})
                await send({"type": "http.response.body", "body": frame, "more_body": True})
            frame = _sse({**base, "choices": [{"index": i, "text": "", "finish_reason": "length"}]})
            await send({"type": "http.response.body", "body": frame, "more_body": True})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def _response(self, body: dict[str, Any], send: Any) -> None:
        text = body["input"] if isinstance(body["input"], str) else _last_text({"messages": body["input"]})
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": None}
        item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
        whole = {
            "id": "resp_1", "object": "response", "created_at": 1, "model": body["model"], "status": "completed", "output": [item],
            "instructions": body.get("instructions"), "tools": body.get("tools", []), "tool_choice": "auto", "temperature": 1.0,
            "top_p": 1.0, "parallel_tool_calls": True, "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7,
            "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}},
            "input_messages": ["Maria Jensen"],
        }  # fmt: skip
        if not body.get("stream"):
            await _reply(send, 200, whole)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        events: list[dict[str, Any]] = [
            {"type": "response.created", "response": {**whole, "output": [], "status": "in_progress", "usage": None}},
            {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": [], "status": "in_progress"}},
            {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
            *({"type": "response.output_text.delta", **place, "delta": text[i : i + 2], "logprobs": []} for i in range(0, len(text), 2)),
            {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
            {"type": "response.content_part.done", **place, "part": part},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": whole},
        ]
        for number, each in enumerate(events):
            frame = b"event: " + each["type"].encode() + b"\n" + _sse({**each, "sequence_number": number})
            await send({"type": "http.response.body", "body": frame, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _sse(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def _logprobs(text: str) -> dict[str, Any]:
    return {"content": [{"token": text, "logprob": -0.5, "bytes": list(text.encode()), "top_logprobs": []}]}


def _last_text(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


async def _reply(send: Any, status: int, body: Any, headers: Any = ()) -> None:
    payload = json.dumps(body).encode()
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json"), *headers]})
    await send({"type": "http.response.body", "body": payload})


class Planted:
    """Detector and Pseudonyms over the table PLANTED."""

    def __init__(self) -> None:
        self.fails = False
        self.vault_fails = False
        self.blocks = False

    async def detect(self, texts: Any, policy: Policy, *, tenant: str | None = None) -> list[tuple[Span, ...]]:
        if self.fails:
            raise DetectorFailed("Detection failed; nothing was sent to the model.")
        return [tuple(sorted(_spans(text), key=lambda span: span.start)) for text in texts]

    async def replace(self, scope: Any, texts: Any, spans: Any, policy: Policy) -> Replaced:
        if self.vault_fails:
            raise StoreUnavailable("The vault can't be reached; nothing was sent to the model.")
        issued: dict[str, IssuedValue] = {}
        replaced = []
        for text, found in zip(texts, spans, strict=True):
            if found and self.blocks:
                raise PolicyRefusal("The policy blocks requests that hold a PERSON.")
            for span in reversed(found):
                value = text[span.start : span.end]
                token = PLANTED[value]
                issued[token] = IssuedValue(token, value, span.entity, "surrogate")
                text = text[: span.start] + token + text[span.end :]
            replaced.append(text)
        counts = {("PERSON", "surrogate"): len(issued)} if issued else {}
        return Replaced(tuple(replaced), tuple(issued.values()), counts)


def _spans(text: str) -> Iterator[Span]:
    for value in PLANTED:
        at = text.find(value)
        while at >= 0:
            yield Span(at, at + len(value), "PERSON", 0.9)
            at = text.find(value, at + len(value))


class Keys:
    def __init__(self) -> None:
        self.asked = 0

    async def find(self, presented_key: str) -> Principal | None:
        self.asked += 1
        known = {KEY: Principal("clinic", "k1"), KEY_OF_A_BANK: Principal("bank", "k2"), MONITOR_KEY: Principal("clinic", "k3", "monitor")}
        return known.get(presented_key)


class Attempts:
    async def failed(self, source: str) -> None:
        return None


class OnePolicy:
    def __init__(self) -> None:
        self.policy = Policy(id="test")

    async def resolve(self, principal: Principal, model: str, path: str) -> tuple[Policy, int]:
        return self.policy, 3


@dataclass
class Unlimited:
    headers: Mapping[str, str] = field(default_factory=lambda: {"x-ratelimit-limit-requests": "60"})
    settled: list[int] = field(default_factory=list)
    used_up: bool = False

    async def take(self, principal: Principal, policy: Policy, *, tokens: int, stream: bool) -> "Unlimited":
        if self.used_up:
            raise RateLimited("The limit of this key is reached.", retry_after_s=1.0)
        return self

    async def settle(self, lease: "Unlimited", *, tokens: int) -> None:
        self.settled.append(tokens)


class AuditList:
    def __init__(self) -> None:
        self.records: list[tuple[str, dict[str, object]]] = []
        self.fails = False

    async def admission(self, record: Mapping[str, object]) -> None:
        if self.fails:
            raise StoreUnavailable("The audit log can't be written; what can't be audited is not served.")
        self.records.append(("admission", dict(record)))

    async def outcome(self, record: Mapping[str, object]) -> None:
        self.records.append(("outcome", dict(record)))


class Meddler:
    """A gateway's relay of sealed boxes that keeps what it sees, and may do with a box whatever a hostile gateway could.

    `meddle(direction, party, box)` answers the boxes that go on in its place.
    """

    def __init__(self) -> None:
        self.relay: Any = None
        self.seen: list[tuple[str, int, bytes]] = []
        self.meddle: Callable[[str, int, bytes], list[bytes]] = lambda direction, party, box: [box]

    def allowance_bytes(self, sealed: Any) -> int:
        return int(self.relay.allowance_bytes(sealed))

    @asynccontextmanager
    async def open(self, sealed: Any) -> AsyncIterator["MeddledLanes"]:
        async with self.relay.open(sealed) as lanes:
            yield MeddledLanes(self, lanes)


class MeddledLanes:
    def __init__(self, meddler: Meddler, lanes: Any) -> None:
        self._meddler, self._lanes = meddler, lanes
        self._waiting: tuple[list[bytes], list[bytes]] = ([], [])

    async def put(self, party: int, box: bytes) -> None:
        self._meddler.seen.append(("up", party, box))
        for each in self._meddler.meddle("up", party, box):
            await self._lanes.put(party, each)

    async def take(self, party: int) -> bytes:
        while not self._waiting[party]:
            box = await self._lanes.take(party)
            self._meddler.seen.append(("down", party, box))
            self._waiting[party].extend(self._meddler.meddle("down", party, box))
        return self._waiting[party].pop(0)


@dataclass
class Running:
    """The gateway under test."""

    url: str
    planted: Planted
    policies: OnePolicy
    audit: AuditList
    upstream: Recorder
    limits: Unlimited
    meddler: "Meddler"
    keys: Keys

    def client(self, **more: Any) -> openai.OpenAI:
        return openai.OpenAI(**{"base_url": self.url + "/v1", "api_key": KEY, "max_retries": 0, "timeout": 20, **more})

    def async_client(self, **more: Any) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=self.url + "/v1", api_key=KEY, max_retries=0, timeout=20, **more)


LIMITS = WireLimits(max_body_bytes=200_000, request_timeout_s=15, max_concurrent_requests=64)


@contextmanager
def gateway(
    upstream: Recorder,
    *,
    limits: WireLimits = LIMITS,
    idle_timeout_s: float = 5,
    embeddings: bool = True,
    mpc: Path | None = None,
) -> Iterator[Running]:
    planted, policies, audit, limited, meddler, keys = Planted(), OnePolicy(), AuditList(), Unlimited(), Meddler(), Keys()

    @asynccontextmanager
    async def opener(meter: Any) -> AsyncIterator[Opened]:
        server = OpenAIServer(
            f"http://127.0.0.1:{upstream.port}/v1", None, connect_timeout_s=2, idle_timeout_s=idle_timeout_s, max_connections=64
        )
        embedding = server if embeddings else None
        catalogue: Any = Catalogue(server, embedding, ())
        backends: dict[Any, Any] = {"vllm": OpenAIBackend(server, embedding)}
        secret_shared = MpcServer(mpc) if mpc else None
        if secret_shared:
            catalogue, backends["mpc"] = WithMpc(catalogue, "smollm2-mpc"), MpcBackend(secret_shared, meter.mpc_token)
            meddler.relay = MpcRelay(secret_shared)
        parts = Parts(
            keys=keys, attempts=Attempts(), policies=policies, catalogue=catalogue, detector=planted, pseudonyms=planted,
            private_server=PrivateVllm(server), ledger=RedisLedger(Redis(unix_socket_path="/nowhere")),  # no policy here asks for noise
            backends=backends, limits=limited, audit=audit, meter=meter,
            bounds=Bounds(max_depth=32, max_items=1000), conversation_key=bytes(32), salt_key=bytes(range(32)),
            relay=meddler if secret_shared else None,
        )  # fmt: skip

        async def ask_upstream() -> None:
            await server.models()

        yield Opened(parts, {"upstream": ask_upstream} | ({"mpc": secret_shared.ready} if secret_shared else {}))
        await server.aclose()
        if secret_shared:
            secret_shared.close()

    with running(assemble(limits, opener)) as port:
        yield Running(f"http://127.0.0.1:{port}", planted, policies, audit, upstream, limited, meddler, keys)


@pytest.fixture(scope="session")
def recorder() -> Iterator[Recorder]:
    upstream = Recorder()
    with running(upstream) as port:
        upstream.port = port
        yield upstream


@pytest.fixture(scope="session")
def shared_gateway(recorder: Recorder) -> Iterator[Running]:
    with gateway(recorder) as serving:
        yield serving


@pytest.fixture
def llmos(shared_gateway: Running) -> Running:
    """The shared gateway with every switch as it was at first."""
    shared_gateway.upstream.bodies.clear()
    shared_gateway.upstream.headers.clear()
    shared_gateway.upstream.abandoned = 0
    shared_gateway.audit.records.clear()
    shared_gateway.audit.fails = False
    shared_gateway.limits.used_up = False
    planted = shared_gateway.planted
    planted.fails = planted.vault_fails = planted.blocks = False
    shared_gateway.policies.policy = Policy(id="test")
    return shared_gateway


@pytest.fixture
def start_gateway(recorder: Recorder) -> Callable[..., Any]:
    """`with start_gateway(limits=…) as llmos` for a gateway of another make."""
    return lambda **more: gateway(recorder, **more)


@pytest.fixture(scope="session")
def mpc_gateway(recorder: Recorder) -> Callable[[Path], Any]:
    """`with mpc_gateway(config) as llmos`: a gateway with secret-shared inference beside the recorder."""
    return lambda config: gateway(recorder, mpc=config)
