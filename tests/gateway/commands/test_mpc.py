"""`llmos mpc` as its users run it: folders for three hosts, real processes from each, status, chat, and clear refusals."""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.serving.free_ports import free_ports
from mpc_inference import certificates
from mpc_inference.config import read_config, write_config

pytestmark = pytest.mark.timeout(240)
ROOT = Path(__file__).parents[3]
TINY = runpy.run_path(str(ROOT / "tests" / "mpc_inference" / "tiny_model.py"))
DEADLINE_S = 120.0


def environ(data_dir: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LLMOS_")}
    return kept | {"LLMOS_DATA_DIR": str(data_dir), "PYTHONPATH": str(ROOT), "COLUMNS": "200"} | more


def llmos(data_dir: Path, *argv: str, said: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway.cli", "mpc", *argv]
    return subprocess.run(
        command, input=said, capture_output=True, text=True, timeout=DEADLINE_S, env=environ(data_dir, **more), check=False
    )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory whose `smollm2` is the tiny model."""
    root = tmp_path_factory.mktemp("mpc-command")
    TINY["write_model"](root / "models" / "smollm2")
    return root


@pytest.fixture(scope="module")
def hosts(data_dir: Path) -> Path:
    """The folders that `init` writes."""
    ports = free_ports(3)
    places = [part for role, port in zip(("dealer", "party0", "party1"), ports, strict=True) for part in (f"--{role}", f"127.0.0.1:{port}")]
    done = llmos(data_dir, "init", "--folders", *places)
    assert done.returncode == 0, done.stderr
    for folder in (data_dir / "mpc" / "hosts").iterdir():  # what breaks is to break soon
        if (file := folder / "mpc.yaml").exists():
            file.write_text(
                file.read_text().replace("deadline_s: 20.0", "deadline_s: 5.0").replace("context_tokens: 1024", "context_tokens: 64")
            )
    return data_dir / "mpc" / "hosts"


def start(folder: Path, *role: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gateway.cli", "mpc", *role, "--config", "mpc.yaml"]
    with (folder / "out.log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environ(folder))


def await_status(folder: Path, wanted: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        done = llmos(folder, "status", "--config", str(folder / "mpc.yaml"))
        if re.search(wanted, done.stdout):
            return
        assert time.monotonic() < deadline, done.stdout + done.stderr
        time.sleep(0.3)


@pytest.fixture(scope="module")
def three(hosts: Path) -> Iterator[Path]:
    """Dealer and parties, each from its own folder; answers the client's folder."""
    processes = [
        start(hosts / "dealer", "dealer"),
        start(hosts / "party0", "party", "--index", "0"),
        start(hosts / "party1", "party", "--index", "1"),
    ]
    try:
        await_status(hosts / "client", r"ready\s+yes\s+yes")
        yield hosts / "client"
    finally:
        for process in processes:
            process.send_signal(signal.SIGINT)
        assert [process.wait(20) for process in processes] == [0, 0, 0], "Ctrl-C ends each in order"


def test_a_folder_holds_what_its_host_needs_and_no_other_key(hosts: Path) -> None:
    secrets = {role: {path.name for path in (hosts / role).rglob("*.key")} for role in ("dealer", "party0", "party1", "client", "blind")}
    assert secrets == {
        "dealer": {"dealer.key"},
        "party0": {"party0.key", "party0.seal.key"},
        "party1": {"party1.key", "party1.seal.key"},
        "client": {"client.key"},
        "blind": set(),
    }
    assert not (hosts / "dealer" / "model").exists()
    assert not (hosts / "client" / "prepared").exists()
    assert (hosts / "blind" / "model" / "tokenizer.json").exists()
    assert all(path.stat().st_mode & 0o077 == 0 for path in hosts.rglob("*.key"))


def test_each_process_runs_from_its_own_folder_and_a_chat_is_answered(three: Path) -> None:
    done = llmos(three, "chat", "--config", str(three / "mpc.yaml"), "--max-tokens", "4", said="w1 w2 w3\n\n")
    assert done.returncode == 0, done.stderr
    assert "prompt tokens, first token after" in done.stdout
    (told,) = [json.loads(llmos(three, "status", "--json", "--config", str(three / "mpc.yaml")).stdout)]
    assert [one["party"] for one in told] == [0, 1]
    assert all(one["rounds"] > 0 and one["peer_sent_bytes"] > 0 and one["tokens"] > 4 for one in told)
    assert all(one["shown"] == [] for one in told), "no share is shown unless the file asks for it"


def test_a_prompt_over_the_context_is_refused_in_the_chat_and_the_chat_goes_on(three: Path) -> None:
    done = llmos(three, "chat", "--config", str(three / "mpc.yaml"), "--max-tokens", "2", said="w1 " * 100 + "\nw1\n\n")
    assert "do not fit" in done.stdout
    assert done.stdout.count("first token after") == 1


def test_another_authority_s_certificate_is_named(three: Path, tmp_path: Path) -> None:
    certificates.create(tmp_path / "certificates")
    other = tmp_path / "mpc.yaml"
    write_config(other, read_config(three / "mpc.yaml").model_copy(update={"certificates": tmp_path / "certificates"}))
    done = llmos(three, "status", "--config", str(other))
    assert done.returncode == 1
    assert "certificate" in done.stdout


def test_other_weights_are_named_by_the_client_and_by_the_party(three: Path, hosts: Path, tmp_path: Path) -> None:
    other = tmp_path / "mpc.yaml"
    write_config(other, read_config(three / "mpc.yaml").model_copy(update={"digest": "0" * 64}))
    done = llmos(three, "status", "--config", str(other))
    assert (done.returncode, "other weights" in done.stdout) == (1, True)
    mixed = read_config(hosts / "party0" / "mpc.yaml").model_copy(update={"digest": "0" * 64})
    write_config(other, mixed)
    done = llmos(three, "party", "--index", "0", "--config", str(other))
    assert (done.returncode, "digest" in done.stderr) == (1, True)


def test_an_unsupported_architecture_is_refused_before_anything_is_written(data_dir: Path, tmp_path: Path) -> None:
    model = TINY["write_model"](tmp_path / "model", model_type="mistral")
    done = llmos(data_dir, "init", "--out", str(tmp_path / "out"), "--model", str(model))
    assert (done.returncode, "'mistral'" in done.stdout) == (1, True)
    assert not (tmp_path / "out").exists()


def test_up_runs_all_three_says_that_it_gives_no_privacy_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    config = TINY["deploy"](tmp_path)
    argv = [sys.executable, "-m", "gateway.cli", "mpc", "up", "--config", str(config)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ(tmp_path)) as process:
        assert process.stdout is not None
        seen = ""
        deadline = time.monotonic() + DEADLINE_S
        while "Ready." not in seen:
            assert time.monotonic() < deadline, seen
            line = process.stdout.readline()
            assert line, seen
            seen += line
        assert "no privacy" in seen
        process.send_signal(signal.SIGINT)
        assert process.wait(40) == 0
    assert llmos(tmp_path, "status", "--config", str(config)).returncode == 1


def test_up_names_a_port_that_is_taken(three: Path, data_dir: Path) -> None:
    done = llmos(data_dir, "up")
    assert (done.returncode, "is taken" in done.stdout) == (1, True)


def test_up_refuses_in_production(data_dir: Path, tmp_path: Path) -> None:
    done = llmos(data_dir, "up", LLMOS_ENV="production", LLMOS_MASTER_KEY_FILE=str(tmp_path / "key"))
    assert (done.returncode, "refuses in production" in done.stdout) == (1, True)


def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    done = llmos(tmp_path, "status")
    assert (done.returncode, "llmos mpc init" in done.stdout) == (1, True)
