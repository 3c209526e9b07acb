"""`llmos federate`: keys stay private, mistakes are one line, nothing heavy is loaded for help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.commands.federate import app

RUNNER = CliRunner()
FEDERATION = """base_model = "m"
data_dir = "data"
roster = "r"
held_out = "h"
registry = "file:///nowhere"
signing_key = "k"
"""


def test_help_loads_neither_torch_nor_flower() -> None:
    code = "import sys, gateway.commands.federate; print(sorted({'torch', 'flwr', 'federated_trainer'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


def test_keys_are_made_once_and_only_public_halves_are_shown(tmp_path: Path) -> None:
    first = RUNNER.invoke(app, ["keys", str(tmp_path)])
    second = RUNNER.invoke(app, ["keys", str(tmp_path)])
    assert first.exit_code == 0
    assert first.output == second.output
    assert (tmp_path / "identity.key").read_text().strip() not in first.output
    assert (tmp_path / "identity.key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("cron", "code", "shown"), [("never", 1, "BadCron"), ("0 3 * * 0", 0, "03:00 UTC")])
def test_schedule(tmp_path: Path, cron: str, code: int, shown: str) -> None:
    (tmp_path / "f.toml").write_text(FEDERATION)
    result = RUNNER.invoke(app, ["schedule", cron, "-f", str(tmp_path / "f.toml")])
    assert (result.exit_code, shown in result.output) == (code, True)
    if code == 0:
        paused = RUNNER.invoke(app, ["schedule", "-f", str(tmp_path / "f.toml"), "--pause"])
        assert "paused" in paused.output


def test_budget_of_an_institution_that_never_trained(tmp_path: Path) -> None:
    lines = ['name = "a"', *(f'{field} = "{field}"' for field in ("data", "base_model", "identity_key", "roster", "ledger"))]
    (tmp_path / "i.toml").write_text("\n".join(lines))
    result = RUNNER.invoke(app, ["budget", "-i", str(tmp_path / "i.toml")])
    assert "epsilon 0.000 of 8.0" in result.output


def test_bad_settings_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text("nonsense = 1")
    result = RUNNER.invoke(app, ["status", "-f", str(tmp_path / "f.toml")])
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert "BadConfiguration" in result.output


@pytest.mark.parametrize("command", [["run"], ["scheduler", "--once"]])
def test_without_the_store_of_the_lock_no_round_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    (tmp_path / "f.toml").write_text(FEDERATION)
    (tmp_path / "ca.crt").write_text("")
    monkeypatch.setenv("LLMOS_REDIS_URL", "redis://127.0.0.1:1")
    result = RUNNER.invoke(app, [*command, "-f", str(tmp_path / "f.toml"), "--ca", str(tmp_path / "ca.crt")])
    assert result.exit_code == 1
    assert "Start the gateway" in result.output
    assert "Traceback" not in result.output


def test_rollback_without_a_model_server_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "m" / name).write_text("{}")
    (tmp_path / "f.toml").write_text(FEDERATION)
    result = RUNNER.invoke(app, ["rollback", "-f", str(tmp_path / "f.toml")])
    assert result.exit_code == 1
    assert "vllm_url" in result.output
