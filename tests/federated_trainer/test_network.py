"""Real Flower processes with TLS and authenticated nodes; a client killed within a round; what the commands carry."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from federated_trainer.network import (
    LocalNetwork,
    flower_environment,
    make_certificates,
    make_node_key,
    superlink_command,
    supernode_command,
)
from federated_trainer.roster import make_identity
from federated_trainer.settings import InstitutionSettings

Make = Callable[..., dict[int, InstitutionSettings]]


def test_certificates_make_a_verified_connection(tmp_path: Path) -> None:
    make_certificates(tmp_path, ("localhost",))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    client = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    near, far = socket.socketpair()
    thread = threading.Thread(target=lambda: server.wrap_socket(far, server_side=True).close(), daemon=True)
    thread.start()
    with client.wrap_socket(near, server_hostname="localhost") as wrapped:
        assert wrapped.getpeercert()
    thread.join(5)
    assert (tmp_path / "server.key").stat().st_mode & 0o077 == 0


def test_nothing_insecure_or_talkative_is_started(tmp_path: Path) -> None:
    link = superlink_command("127.0.0.1", 1, tmp_path)
    node = supernode_command("h:1", tmp_path / "ca", tmp_path / "k", tmp_path / "i.toml", 2)
    environment = flower_environment(tmp_path, {})
    assert "--insecure" not in [*link, *node]
    assert {"--enable-supernode-auth", "--disable-runtime-dependency-installation", "--ssl-keyfile"} <= set(link)
    assert "--auth-supernode-private-key" in node
    assert (environment["FLWR_TELEMETRY_ENABLED"], environment["FLWR_DISABLE_UPDATE_CHECK"]) == ("0", "1")
    assert make_node_key(tmp_path / "node").read_text().startswith("ecdsa-sha2-nistp384 ")


def institution_file(folder: Path, own: InstitutionSettings) -> Path:
    lines = [f"{name} = {json.dumps(str(value) if isinstance(value, Path) else value)}" for name, value in own]
    path = folder / own.name / "institution.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def federation_file(folder: Path, base: Path, join_timeout_s: float) -> Path:
    (folder / "held_out.jsonl").write_text((folder / "i0" / "train.jsonl").read_text())
    make_identity(folder / "signing.key")
    path = folder / "federation.toml"
    path.write_text(
        f"""base_model = "{base}"
data_dir = "{folder / "data"}"
roster = "{folder / "roster.json"}"
held_out = "{folder / "held_out.jsonl"}"
registry = "file://{folder / "registry"}"
signing_key = "{folder / "signing.key"}"
join_timeout_s = {join_timeout_s}
round_timeout_s = 60.0
[adapter]
rank = 2
alpha = 4
[local]
learning_rate = 0.5
[gate]
perplexity_margin = 10.0
task_margin = 1.0
"""
    )
    return path


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rounds_over_flower_survive_a_killed_client(tmp_path: Path, tiny_base: Path, make_institutions: Make) -> None:
    """Round 1 with all three; then one SuperNode is killed while the others train, and round 2 ends with two."""
    institutions = {own.name: institution_file(tmp_path, own) for own in make_institutions((6, 6, 6)).values()}
    federation = federation_file(tmp_path, tiny_base, 90.0)
    rounds = tmp_path / "data" / "rounds.jsonl"

    def reports() -> list[dict[str, object]]:
        return [line for line in map(json.loads, rounds.read_text().splitlines()) if "round_number" in line]

    with LocalNetwork(tmp_path / "net", 9440, institutions, dict(os.environ)) as network:
        assert network.run(federation, 1, 400.0) == 0, (tmp_path / "net" / "run.log").read_text()[-2000:]
        assert reports()[0]["clients"] == 3

        killed, ended = threading.Event(), threading.Event()

        def kill_in_training() -> None:
            status = tmp_path / "data" / "status.json"
            while not ended.is_set():
                if '"begin: 3 clients"' in status.read_text():
                    network.stop("i2")
                    killed.set()
                    return
                time.sleep(0.05)

        killer = threading.Thread(target=kill_in_training, daemon=True)
        killer.start()
        assert network.run(federation, 1, 400.0) == 0, (tmp_path / "net" / "run.log").read_text()[-2000:]
        ended.set()
        killer.join(30)
        assert killed.is_set(), "round 2 ended before the client was killed"
    second = reports()[1]
    assert second["clients"] == 2
    assert "i2" in second["refusals"]  # type: ignore[operator]
    assert second["version"] == 1
