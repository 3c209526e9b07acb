"""A model server that comes back without its adapters gets the served version again by itself, over real HTTP."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from federated_trainer.adapter import base_digest
from federated_trainer.coordinator import open_registry
from federated_trainer.roster import make_identity, read_private_key
from federated_trainer.served import ServedState, ServedStore
from federated_trainer.settings import FederationSettings
from gateway.commands.federate.schedule import Keeper

FACTS: dict[str, Any] = {"name": "t", "round_number": 1, "clients": 3, "privacy": {}, "measures": {}, "published_at": ""}


class ModelServer(BaseHTTPRequestHandler):
    """vLLM's list and load; `loaded` maps a name to its path."""

    loaded: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        self._answer({"data": [{"id": "smollm2"}, *({"id": name, "root": root} for name, root in self.loaded.items())]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.loaded[body["lora_name"]] = body["lora_path"]
        self._answer({})

    def _answer(self, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *arguments: object) -> None:
        return None


def start(port: int = 0) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", port), ModelServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def settings(tmp_path: Path) -> FederationSettings:
    (tmp_path / "m").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "m" / name).write_text("{}")
    make_identity(tmp_path / "key")
    paths = {"roster": tmp_path, "held_out": tmp_path, "data_dir": tmp_path / "data", "base_model": tmp_path / "m"}
    made = FederationSettings.model_validate(paths | {"signing_key": tmp_path / "key", "registry": f"file://{tmp_path}/registry"})
    for _ in range(2):
        write = lambda folder: (folder / "adapter_model.safetensors").write_text("w")  # noqa: E731
        open_registry(made).publish(write, read_private_key(tmp_path / "key"), base_digest(tmp_path / "m"), "l", FACTS)
    ServedStore(made.data_dir / "served.json").write(ServedState(1, 0))
    ModelServer.loaded.clear()
    return made


def test_the_served_version_comes_back_after_the_model_server_did(settings: FederationSettings) -> None:
    server = start()
    port = server.server_address[1]
    url = f"http://127.0.0.1:{port}/v1"
    serving = settings.serving.model_copy(update={"vllm_url": url})
    faults: list[str] = []
    with Keeper(settings.model_copy(update={"serving": serving}), lambda error: faults.append(str(error)), look_every_s=0.05):
        wait_until(lambda: set(ModelServer.loaded) == {"smollm2@r0", "smollm2@r1"})
        server.shutdown()
        server.server_close()
        wait_until(lambda: faults != [])
        ModelServer.loaded.clear()
        server = start(port)
        wait_until(lambda: set(ModelServer.loaded) == {"smollm2@r0", "smollm2@r1"})
    server.shutdown()
    server.server_close()
    assert len(faults) <= 2, "an outage is told once for each way it shows, not at every look"
    assert all("does not answer" in fault for fault in faults)


def wait_until(holds: Any) -> None:
    deadline = time.monotonic() + 30.0
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
