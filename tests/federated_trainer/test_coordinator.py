"""Runs one after another are one long run; a model server that is away, or dies while it loads, costs no version and no service."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from federated_trainer.adapter import base_digest
from federated_trainer.coordinator import open_registry, run_rounds
from federated_trainer.dp.secure_random import SecureRandom
from federated_trainer.errors import RefreshFailed
from federated_trainer.institution import contribute
from federated_trainer.roster import make_identity
from federated_trainer.served import ServedState, ServedStore
from federated_trainer.settings import AdapterSettings, FederationSettings, InstitutionSettings, LocalSettings
from federated_trainer.simulation import InProcessClients
from federated_trainer.status import Status

Make = Callable[..., dict[int, InstitutionSettings]]
Run = Callable[..., FederationSettings]


@pytest.fixture
def run(tmp_path: Path, tiny_base: Path, make_institutions: Make) -> Run:
    """Run rounds of a federation of its own folder, with the same institutions and the same randomness each time."""
    institutions = make_institutions((6, 4))
    (tmp_path / "held_out.jsonl").write_text((tmp_path / "i0" / "train.jsonl").read_text())

    def run_in(folder: str, rounds: int, **changes: object) -> FederationSettings:
        home = tmp_path / folder
        if not (home / "signing.key").exists():
            make_identity(home / "signing.key")
        fields: dict[str, object] = {
            "base_model": tiny_base,
            "data_dir": home,
            "roster": tmp_path / "roster.json",
            "held_out": tmp_path / "held_out.jsonl",
            "registry": f"file://{home}/registry",
            "signing_key": home / "signing.key",
            "adapter": AdapterSettings(rank=2, alpha=4),
            "local": LocalSettings(batch_rows=None, learning_rate=0.5),
            "gate": {"perplexity_margin": 10.0, "task_margin": 1.0},
        }
        settings = FederationSettings.model_validate(fields | changes)
        clients = InProcessClients(institutions, contribute, lambda client: SecureRandom(client.to_bytes(8, "big") * 4))
        run_rounds(settings, rounds, clients, lambda stage, what: None)
        return settings

    return run_in


def trained(settings: FederationSettings, version: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    folder = open_registry(settings).fetch(version, base_digest(settings.base_model), settings.data_dir / "fetched")
    return load_file(folder / "trained.safetensors")["trained"]


@pytest.mark.parametrize("optimizer", ["fedavg", "fedadam"])
def test_two_runs_of_a_round_are_one_run_of_two(run: Run, optimizer: str) -> None:
    how = {"server_optimizer": optimizer, "server_learning_rate": 0.1}
    long = run("long", 2, **how)
    run("short", 1, **how)
    short = run("short", 1, **how)
    assert open_registry(long).versions() == open_registry(short).versions() == (0, 1)
    np.testing.assert_array_equal(trained(short, 1), trained(long, 1))
    assert not np.array_equal(trained(long, 0), trained(long, 1))


class DiesWhileItLoads(BaseHTTPRequestHandler):
    """Lists its base model; closes the connection where it is asked to load an adapter."""

    def do_GET(self) -> None:
        body = json.dumps({"data": [{"id": "smollm2", "root": "base"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.close_connection = True

    def log_message(self, *said: Any) -> None:
        """Says nothing."""


@pytest.fixture
def dying_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), DiesWhileItLoads) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


@pytest.fixture
def closed_port() -> Iterator[str]:
    """Bound, so that nobody else takes it, and never listened on: connections to it are refused."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1"


@pytest.mark.parametrize("where", ["closed_port", "dying_server"])
def test_a_model_server_that_is_down_at_refresh_leaves_a_published_version_unserved(
    run: Run, where: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    serving = {"vllm_url": request.getfixturevalue(where)}
    with pytest.raises(RefreshFailed, match="published and not served"):
        run("down", 1, serving=serving)
    settings = run("down", 1)  # without a model server: the rounds go on from the version that was published
    assert open_registry(settings).versions() == (0, 1)
    assert ServedStore(settings.data_dir / "served.json").read() == ServedState()
    first = Status(settings.data_dir, lambda stage, what: None).rounds()[0]
    assert (first["version"], len(first["reasons"])) == (0, 1)
    assert "the served version stays" in first["reasons"][0]
