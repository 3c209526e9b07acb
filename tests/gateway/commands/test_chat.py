"""`llmos chat` against a small gateway: what it shows, and how it fails."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.commands.chat import app

SENT = {"messages": [{"role": "user", "content": "I am Maria Jensen"}]}
ANSWER = "".join(f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': piece}}]})}\n\n" for piece in ("Hello ", "Sarah"))


class Gateway(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
        return

    def _send(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_GET(self) -> None:
        known = self.headers["authorization"] == "Bearer sk-good"
        self._send(200, json.dumps({"data": [{"id": "m1"}]})) if known else self._send(
            401, json.dumps({"error": {"message": "No such key."}})
        )

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if body["messages"][-1]["content"] == "break":
            self._send(200, 'event: error\ndata: {"error": {"message": "The model server broke its answer off."}}\n\n')
            return
        sent = f": llmos-sent {json.dumps(SENT)}\n\n" if self.headers["x-llmos-show-sent"] else ""
        self._send(200, f"{sent}{ANSWER}data: [DONE]\n\n")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


@pytest.mark.parametrize("shows", [False, True])
def test_the_answer_streams_and_what_was_sent_shows_on_demand(url: str, shows: bool) -> None:
    arguments = ["--url", url, "--key", "sk-good", *(["--show-sent"] if shows else [])]
    done = CliRunner().invoke(app, arguments, input="I am Sarah\n\n")
    assert done.exit_code == 0
    assert "Hello Sarah" in done.output
    assert ("I am Maria Jensen" in done.output) is shows


@pytest.mark.parametrize(
    ("key", "text", "says"), [("sk-bad", "x\n", "No such key."), ("sk-good", "break\n", "The model server broke its answer off.")]
)
def test_a_failure_is_the_gateways_own_message(url: str, key: str, text: str, says: str) -> None:
    done = CliRunner().invoke(app, ["--url", url, "--key", key], input=text)
    assert done.exit_code == 1
    assert says in done.output


def test_no_gateway_is_a_message() -> None:
    done = CliRunner().invoke(app, ["--url", "http://127.0.0.1:9/v1", "--key", "k"], input="x\n")
    assert done.exit_code == 1
    assert "did not answer" in done.output
