"""`llmos serve` as a process of its own, with its embedded Valkey, before a real vLLM or a server that records."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.serving.free_ports import free_port
from tests.faults.rig import answers

KEY = "sk-llmos-end-to-end"
ROOT = Path(__file__).parents[2]


@dataclass
class Serving:
    """A running gateway and where it writes."""

    url: str
    data_dir: Path
    log: Path

    def client(self, **more: Any) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url + "/v1", api_key=KEY, max_retries=0, timeout=120, **more)


@contextmanager
def serving(upstream: str, data_dir: Path, port: int, **settings: str) -> Iterator[Serving]:
    log = data_dir / "serve.log"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LLMOS_")}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "LLMOS_DATA_DIR": str(data_dir),
        "LLMOS_DEV_KEY": KEY,
        "LLMOS_DETECTOR_WORKERS": "1",
        **settings,
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "serve", "--upstream", upstream, "--port", str(port)],
            env=environment,
            stdout=out,
            stderr=out,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 240
        while not answers(url + "/readyz"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield Serving(url, data_dir, log)
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass
class Echo:
    """A model server that answers with the last message and keeps the bodies that it received. The model's name says how it behaves:
    `echo`; `fail` answers 500 and quotes the request; `cut` breaks a stream off; `half` sends one byte at a time."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)

    def handler(self) -> type[BaseHTTPRequestHandler]:
        echo = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
                return

            def _send(self, body: bytes, kind: str = "application/json") -> None:
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                names = ["echo", "fail", "cut", "half"]
                self._send(json.dumps({"object": "list", "data": [{"id": name, "owned_by": "vllm"} for name in names]}).encode())

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                echo.bodies.append(raw)
                request = json.loads(raw)
                text = request["messages"][-1]["content"]
                if request["model"] == "fail":
                    self.send_error(500, explain=text)
                    return
                base = {"id": "c", "created": 1, "model": "echo"}
                if not request.get("stream"):
                    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
                    self._send(
                        json.dumps({**base, "object": "chat.completion", "choices": [choice], "usage": {"total_tokens": 3}}).encode()
                    )
                    return
                events = [{"index": 0, "delta": {"content": c}, "finish_reason": None} for c in text]
                events.append({"index": 0, "delta": {}, "finish_reason": "stop"})
                lines = [json.dumps({**base, "object": "chat.completion.chunk", "choices": [e]}, ensure_ascii=False) for e in events]
                stream = "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode()
                if request["model"] == "cut":
                    self._send(stream[: len(stream) // 2], "text/event-stream")
                elif request["model"] == "half":
                    self._drip(stream)
                else:
                    self._send(stream, "text/event-stream")

            def _drip(self, stream: bytes) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                for at in range(len(stream)):
                    self.wfile.write(stream[at : at + 1])
                self.close_connection = True

        return Handler


@pytest.fixture(scope="session")
def echo() -> Iterator[Echo]:
    recording = Echo()
    server = ThreadingHTTPServer(("127.0.0.1", 0), recording.handler())
    recording.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield recording
    server.shutdown()


@pytest.fixture(scope="session")
def serve() -> Callable[..., Any]:
    """`with serve(upstream, data_dir, port) as gateway`."""
    return serving


@pytest.fixture(scope="session")
def before_echo(echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A gateway before the recording server."""
    with serving(echo.url, tmp_path_factory.mktemp("echo"), free_port()) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def before_vllm(vllm_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A gateway before the real vLLM."""
    with serving(vllm_server, tmp_path_factory.mktemp("vllm-gateway"), free_port()) as gateway:
        yield gateway
