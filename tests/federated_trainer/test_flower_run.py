"""A run is watched to its end, its failure told with the log's last lines, and stopped at the SuperLink on an interrupt."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from federated_trainer.errors import TrainerError
from federated_trainer.flower_run import run_to_end

STARTED = "print('\\x1b[92mSuccessfully started run 42\\x1b[0m', flush=True); "


@dataclass
class SuperLink:
    """Says the statuses one after another, the last one for ever."""

    says: list[str] = field(default_factory=lambda: ["finished:completed"])
    stopped: list[str] = field(default_factory=list)

    def status(self, run_id: str) -> str:
        assert run_id == "42"
        return self.says.pop(0) if len(self.says) > 1 else self.says[0]

    def stop(self, run_id: str) -> None:
        self.stopped.append(run_id)


def play(code: str, log: Path, link: SuperLink, **how: object) -> None:
    run_to_end([sys.executable, "-c", code], dict(os.environ), log, control=link, **how)  # type: ignore[arg-type]


def test_a_run_that_completes_is_watched_and_its_log_kept(tmp_path: Path) -> None:
    looks: list[int] = []
    for _ in range(2):
        play(STARTED, tmp_path / "run.log", SuperLink(["running", "finished:completed"]), watch=lambda: looks.append(1))
    assert len(looks) >= 2
    assert (tmp_path / "run.log").read_text().count("started run 42") == 2


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (STARTED + "print('TooFewClients: 1 client is left')", "finished:failed"),
        (STARTED + "print('TooFewClients'); raise SystemExit(1)", "finished:completed"),
        ("print('TooFewClients: no run began')", "finished:completed"),
    ],
)
def test_a_failure_shows_the_end_of_the_log(tmp_path: Path, code: str, status: str) -> None:
    (tmp_path / "run.log").write_text("an older run\n")
    with pytest.raises(TrainerError, match="TooFewClients") as caught:
        play(code, tmp_path / "run.log", SuperLink([status]))
    assert "older" not in str(caught.value)


def test_too_long_and_interrupted_runs_are_stopped(tmp_path: Path) -> None:
    link, endless = SuperLink(), STARTED + "import time; time.sleep(60)"
    with pytest.raises(TrainerError, match="did not end within 2 s"):
        play(endless, tmp_path / "run.log", link, timeout_s=2.0)

    def interrupt() -> None:
        if "started run" in (tmp_path / "second.log").read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play(endless, tmp_path / "second.log", link, watch=interrupt)
    assert link.stopped == ["42", "42"]
