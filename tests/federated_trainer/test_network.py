"""What Flower's processes are started with: TLS, authenticated nodes, nothing that talks or installs."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest

from federated_trainer.demo.show import POISONED_APP
from federated_trainer.network import (
    APP_FOLDER,
    flower_environment,
    make_certificates,
    make_node_key,
    superlink_command,
    supernode_command,
)

ROOT = Path(__file__).parents[2]


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
    assert node[:3] == [sys.executable, "-m", "federated_trainer.supernode"]
    assert (environment["FLWR_TELEMETRY_ENABLED"], environment["FLWR_DISABLE_UPDATE_CHECK"]) == ("0", "1")
    assert make_node_key(tmp_path / "node").read_text().startswith("ecdsa-sha2-nistp384 ")


@pytest.mark.parametrize("bundle", [APP_FOLDER, POISONED_APP])
def test_an_institutions_process_loads_no_torch_until_it_trains(bundle: Path) -> None:
    """Flower starts a process for each of a round's messages; torch and its kin take seconds to load."""
    app = tomllib.loads((bundle / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["components"]["clientapp"]
    module, name = app.split(":")
    code = f"import sys, {module} as m; m.{name}; print(sorted(set(sys.modules) & {{'torch', 'transformers', 'peft', 'opacus'}}))"
    path = os.pathsep.join([str(bundle), str(ROOT)])
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True, timeout=120, check=True)
    assert done.stdout.decode().strip() == "[]"
