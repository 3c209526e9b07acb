"""systemd accepts the units, each keeps its own user's files, and the processes live under the hardening that they share."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from federated_trainer.network import make_certificates
from gateway.serving.free_ports import free_port
from mpc_inference import launch
from mpc_inference.native.core import core
from tests.deploy.files import DEPLOY, ROOT, Started, of_units, unit
from tests.faults.certificates import Authority
from tests.faults.rig import Gateway, Process, answers, listens, running

UNITS = {path.name: unit(path) for path in sorted((DEPLOY / "systemd").glob("*.service"))}
STARTED = {started.source: started for started in of_units()}
SHARED = {"llmos-superlink.service", "llmos-scheduler.service"}  # rounds run in the first, and both keep the federation's state
MOST_EXPOSED = 20  # tenths; systemd's own scale: 100 is a unit without any of it
systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")


def analyze(folder: Path, *argv: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"SYSTEMD_UNIT_PATH": f"{folder}:"}
    return subprocess.run(["systemd-analyze", *argv], capture_output=True, text=True, timeout=120, check=False, env=environment)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The folder of units as docs/operations.md installs it, but for programs that are not on this machine."""
    folder = shutil.copytree(DEPLOY / "systemd", tmp_path / "system")
    for path in folder.glob("*.service"):
        text = path.read_text().replace("/opt/llmos/bin/llmos", sys.executable).replace("/opt/llmos/bin/python", sys.executable)
        path.write_text(text.replace("/opt/vllm/bin/python", sys.executable))
    return folder


@systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_accepts_a_unit_and_calls_it_little_exposed(name, installed):
    name = name.replace("@", "@1")
    verified = analyze(installed, "verify", "--man=no", name)
    ours = [line for line in (verified.stdout + verified.stderr).splitlines() if "llmos" in line and "Failed to" not in line]
    assert ours == []
    judged = analyze(installed, "security", "--offline=yes", "--no-pager", f"--threshold={MOST_EXPOSED}", name)
    assert judged.returncode == 0, judged.stdout


def test_each_unit_has_a_user_and_files_of_its_own():
    users: dict[str, list[str]] = {}
    for name, settings in UNITS.items():
        [user] = settings["User"]
        assert settings["Group"] == settings["StateDirectory"] == [user]
        assert settings["WorkingDirectory"] == [f"/var/lib/{user}"]
        closed = (["0750"], ["0027"]) if name in SHARED else (["0700"], ["0077"])
        assert (settings["StateDirectoryMode"], settings["UMask"]) == closed
        users.setdefault(user, []).append(name)
    assert [set(names) for names in users.values() if len(names) > 1] == [SHARED]
    lines = [line.split() for line in (DEPLOY / "systemd" / "sysusers.conf").read_text().splitlines()]
    made = {words[1] for words in lines if words[0] == "u"}
    assert made == set(users) | {"llmos-party0"}
    assert [words[1:] for words in lines if words[0] == "m" and words[2].startswith("llmos")] == [["llmos-vllm", "llmos-federation"]]


def test_a_reload_of_the_gateway_reads_the_key_ring_anew():
    """A credential of systemd's stays as it was at the start."""
    settings = UNITS["llmos-gateway.service"]
    assert "LoadCredential" not in settings
    assert STARTED["llmos-gateway.service"].environment["LLMOS_MASTER_KEY_FILE"] == "/etc/llmos/master.key"
    assert settings["ExecReload"] == ["/bin/kill -HUP $MAINPID"]


def under_the_unit(started: Started, told: dict[str, str]) -> list[str]:
    """The unit's command under its filters; `told` has this machine's path for each of the unit's."""
    program = {"llmos": [sys.executable, "-m", "gateway.cli"], "python": [told.get("python", sys.executable)]}[started.argv[0]]
    return [sys.executable, str(ROOT / "tests/deploy/under_unit.py"), str(DEPLOY / "systemd" / started.source), *program,
            *(told.get(word, word) for word in started.argv[1:])]  # fmt: skip


@systemd
def test_dealer_and_parties_live_under_the_filters(deploy_tiny_mpc, tmp_path):
    config = deploy_tiny_mpc(tmp_path)
    core()  # compiled once here, not by all three at the same time
    processes = []
    for source, index in (("llmos-dealer.service", None), ("llmos-party@.service", "0"), ("llmos-party@.service", "1")):
        told = {"/var/lib/llmos-dealer/mpc.yaml": str(config), "/var/lib/llmos-party1/mpc.yaml": str(config), "1": str(index)}
        processes.append(Process(under_the_unit(STARTED[source], told), tmp_path / f"{source}{index}.log", launch.ONE_THREAD))
    with running(*processes):
        launch.wait_ready(config, 120)


@systemd
def test_the_superlink_lives_under_the_filters(tmp_path):
    make_certificates(tmp_path / "tls")
    port, flower = free_port(), tmp_path / "flower"
    told = {"/etc/llmos-federation/tls": str(tmp_path / "tls"), "9400": str(port), "/var/lib/llmos-federation/flower": str(flower)}
    started = STARTED["llmos-superlink.service"]
    superlink = Process(under_the_unit(started, told), tmp_path / "log", started.environment)
    with running(superlink):
        superlink.await_true(lambda: listens(port), 120)
    assert (flower / "superlink.db").exists()


@systemd
@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.timeout(600)
def test_gateway_and_vllm_live_under_the_filters_with_both_certificates(vllm_python, model_dir, tmp_path):
    """vLLM takes only clients of its authority; the gateway trusts only that authority, and has a certificate of it."""
    authority, port = Authority(tmp_path), free_port()
    server, client = authority.pair("vllm"), authority.pair("gateway")
    tls = [f"--ssl-certfile={server.certificate}", f"--ssl-keyfile={server.key}"]
    tls += [f"--ssl-ca-certs={authority.file}", f"--ssl-cert-reqs={int(ssl.CERT_REQUIRED)}"]
    started = STARTED["llmos-vllm.service"]
    told = {"python": str(vllm_python), "/var/lib/llmos-vllm/smollm2": str(model_dir), "8001": str(port)}
    here = {"PYTHONPATH": str(ROOT / "gateway" / "dp"), "HOME": str(tmp_path)}
    vllm = Process([*under_the_unit(started, told), *tls], tmp_path / "vllm.log", started.environment | here)
    gateway = Gateway(
        tmp_path / "gateway",
        f"https://localhost:{port}/v1",
        LLMOS_UPSTREAM_CA_FILE=str(authority.file),
        LLMOS_UPSTREAM_CERT_FILE=str(client.certificate),
        LLMOS_UPSTREAM_KEY_FILE=str(client.key),
    )
    gateway.argv = under_the_unit(STARTED["llmos-gateway.service"], {})
    context = ssl.create_default_context(cafile=authority.file)
    context.load_cert_chain(client.certificate, client.key)
    with running(vllm):
        health = f"https://localhost:{port}/health"
        vllm.await_true(lambda: answers(health, verify=context), 270)
        assert not answers(health, verify=ssl.create_default_context(cafile=authority.file))
        assert answers(health, verify=context), "it refuses the other while it lives"
        with running(gateway):
            answer = gateway.client().chat.completions.create(
                model="smollm2", messages=[{"role": "user", "content": "What is the capital of France?"}], max_tokens=16, temperature=0
            )
    assert "Paris" in (answer.choices[0].message.content or "")
