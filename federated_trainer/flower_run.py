"""One Flower run from start to end: watched while it goes, stopped at the SuperLink when we are interrupted.

`flwr run --stream` only follows a run; the run itself lives in the SuperLink, would go on after its follower is gone, and
tells by its status alone whether it failed.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from federated_trainer.errors import TrainerError
from federated_trainer.network import run_status_command, stop_run_command

_RUN_ID = re.compile(r"[Ss]uccessfully started run (\d+)")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LOOK_EVERY_S = 0.5
_COMMAND_TIMEOUT_S = 120.0
_SETTLES_S = 30.0  # between the end of the log and the run's final status
_SHOWN_LINES = 12


class Control(Protocol):
    """What is asked of the SuperLink about a run."""

    def status(self, run_id: str) -> str: ...

    def stop(self, run_id: str) -> None: ...


@dataclass(frozen=True)
class FlowerControl:
    """By Flower's own commands, with `environment` (FLWR_HOME names the connection)."""

    environment: Mapping[str, str]

    def status(self, run_id: str) -> str:
        """Such as finished:completed; empty where the SuperLink does not say."""
        try:
            return str(json.loads(self._output(run_status_command(run_id)))["runs"][0]["status"])
        except (ValueError, KeyError, IndexError, TypeError):
            return ""

    def stop(self, run_id: str) -> None:
        self._output(stop_run_command(run_id))

    def _output(self, command: list[str]) -> str:
        try:
            done = subprocess.run(  # noqa: S603 - our own command
                command, env=dict(self.environment), capture_output=True, timeout=_COMMAND_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return ""
        return done.stdout.decode("utf-8", "replace")


def run_to_end(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    timeout_s: float | None = None,
    watch: Callable[[], None] = lambda: None,
    control: Control | None = None,
) -> None:
    """Start `command` (`run_command`), wait for its end. Its output is appended to `log`.

    Raises TrainerError where the run failed or took longer than `timeout_s`; on that and on Ctrl-C the run is stopped.
    """
    control = FlowerControl(environment) if control is None else control
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        begins_at = out.tell()
        process = subprocess.Popen(command, env=dict(environment), stdout=out, stderr=out, stdin=subprocess.DEVNULL)  # noqa: S603 - our own
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            while process.poll() is None:
                if deadline is not None and time.monotonic() > deadline:
                    raise TrainerError(f"The rounds did not end within {timeout_s:.0f} s; they were stopped. See {log}.")
                watch()
                time.sleep(_LOOK_EVERY_S)
            watch()
        except BaseException:
            process.terminate()
            process.wait(timeout=_COMMAND_TIMEOUT_S)
            started = _RUN_ID.search(_written(log, begins_at))
            if started is not None:
                control.stop(started[1])
            raise
    written = _written(log, begins_at)
    started = _RUN_ID.search(written)
    if process.returncode != 0 or started is None or _final_status(control, started[1]) != "finished:completed":
        shown = [line for line in written.splitlines() if line.strip()][-_SHOWN_LINES:]
        raise TrainerError(f"The rounds failed; the served model stays. The end of {log}:\n" + "\n".join(shown))


def _final_status(control: Control, run_id: str) -> str:
    deadline = time.monotonic() + _SETTLES_S
    while True:
        status = control.status(run_id)
        if status.startswith("finished") or time.monotonic() > deadline:
            return status
        time.sleep(1.0)


def _written(log: Path, begins_at: int) -> str:
    with log.open("rb") as file:
        file.seek(begins_at)
        return _COLOURS.sub("", file.read().decode("utf-8", "replace"))
