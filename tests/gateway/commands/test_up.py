"""`llmos up --demo` as a person runs it, in front of a model server that repeats what it is told."""

import os
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.serving.free_ports import free_port, free_ports
from mpc_inference import launch
from mpc_inference.config import Endpoint
from mpc_inference.errors import PeerUnavailable

# an OpenAI-compatible server whose model repeats the user's message; it writes each body that it receives to a file
MODEL_SERVER = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    def reply(self, body):
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        self.reply({"object": "list", "data": [{"id": "parrot", "object": "model", "created": 0, "owned_by": "test"}]})
    def do_POST(self):
        raw = self.rfile.read(int(self.headers["content-length"]))
        open(sys.argv[2], "ab").write(raw + b"\\n")
        message = {"role": "assistant", "content": json.loads(raw)["messages"][-1]["content"]}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        self.reply({"id": "c", "object": "chat.completion", "created": 0, "model": "parrot", "choices": [choice], "usage": usage})
    def log_message(self, *args):
        return
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
VALUES = ["Sarah Connor", "sarah.connor@gmail.com", "(415) 555-2671", "4539 1488 0343 6467", "536-90-4399"]
DEADLINE_S = 200.0


@pytest.fixture
def model_server(tmp_path):
    port = free_port()
    received = tmp_path / "received"
    with subprocess.Popen([sys.executable, "-c", MODEL_SERVER, str(port), str(received)]) as process:
        yield f"http://127.0.0.1:{port}/v1", received
        process.kill()


def up(data_dir, url, gateway_port, *more):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LLMOS_")}
    environ |= {"LLMOS_DATA_DIR": str(data_dir), "LLMOS_PORT": str(gateway_port), "LLMOS_DETECTOR_WORKERS": "1", "COLUMNS": "300"}
    argv = [sys.executable, "-m", "gateway.cli", "up", "--upstream", url, *more]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ)


def read_until(process, text):
    seen = ""
    deadline = time.monotonic() + DEADLINE_S
    while text not in seen:
        assert time.monotonic() < deadline, seen
        line = process.stdout.readline()
        assert line, f"it ended: {seen}"
        seen += line
    return seen


def descendants(pid):
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    return [int(child) for child in children] + [each for child in children for each in descendants(child)]


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.timeout(400)
def test_the_demonstration_shows_what_left_and_ctrl_c_leaves_nothing_behind(tmp_path, model_server, unused_tcp_port):
    url, received = model_server
    drawn = tmp_path / "columns.svg"
    with up(tmp_path / "data", url, unused_tcp_port, "--demo", "--picture", str(drawn)) as process:
        shown = read_until(process, "Ctrl-C stops everything")
        family = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(60) == 0, rest
    assert len(family) >= 3  # Valkey, the gateway, its detector
    deadline = time.monotonic() + 10
    while alive := [pid for pid in family if is_alive(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)
    sent = received.read_text()
    assert not any(value in sent for value in VALUES)
    assert f"0 of {len(VALUES)} values" in shown
    picture = drawn.read_text("utf-8")
    assert picture.startswith("<svg")
    assert "Connor" in picture
    assert "http" not in picture.replace("http://www.w3.org", "").replace("https://www.textualize.io", ""), (
        "a reader's browser fetches nothing"
    )
    assert "sk-llmos-" in shown
    key = shown[shown.index("sk-llmos-") :].split('"')[0]
    kept = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert key.encode() not in kept
    assert not any(value.encode() in kept for value in VALUES)


def test_a_taken_port_is_said_before_anything_starts(tmp_path, model_server):
    url, _ = model_server
    taken = int(url.split(":")[2].split("/")[0])
    with up(tmp_path / "data", url, taken) as process:
        answer = process.stdout.read()
    assert process.returncode == 1
    assert "LLMOS_PORT" in answer
    assert not (tmp_path / "data" / "valkey").exists()


@pytest.mark.timeout(400)
def test_with_mpc_the_demonstration_goes_over_secret_shares_too(tmp_path, model_server, unused_tcp_port):
    url, _ = model_server
    tiny = runpy.run_path(str(Path(__file__).parents[2] / "mpc_inference" / "tiny_model.py"))
    model = tiny["write_model"](tmp_path / "data" / "models" / "smollm2")
    dealer, *parties = (Endpoint(port=port) for port in free_ports(3))
    launch.init(tmp_path / "data" / "mpc", model, places=launch.Places(dealer, tuple(parties)))
    with up(tmp_path / "data", url, unused_tcp_port, "--demo", "--with", "mpc") as process:
        shown = read_until(process, "Ctrl-C stops everything")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, process.stdout.read()
    assert "no privacy" in shown
    for name in ("mpc-dealer", "mpc-party0", "mpc-party1"):
        assert f"{name}: ready" in shown
    assert f"0 of {len(VALUES)} values" in shown, "the first table stays as it is"
    after = shown[shown.index("party 0 received") :]
    words = set(re.findall(r"\b[0-9a-f]{16}\b", after))
    assert len(words) >= 12, "each party shows eight words, and no two are alike"
    assert re.search(r"\d+ tokens in [0-9.]+ s", after)
    with pytest.raises(PeerUnavailable):
        launch.status(tmp_path / "data" / "mpc" / "mpc.yaml")


def test_with_mpc_refuses_in_production(tmp_path, model_server, unused_tcp_port):
    url, _ = model_server
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LLMOS_")}
    environ |= {"LLMOS_DATA_DIR": str(tmp_path / "data"), "LLMOS_PORT": str(unused_tcp_port)}
    environ |= {"LLMOS_ENV": "production", "LLMOS_MASTER_KEY_FILE": str(tmp_path / "master.key")}
    argv = [sys.executable, "-m", "gateway.cli", "up", "--upstream", url, "--with", "mpc"]
    done = subprocess.run(argv, capture_output=True, text=True, env=environ, timeout=60, check=False)
    assert done.returncode == 1
    assert "refuses in production" in done.stdout
