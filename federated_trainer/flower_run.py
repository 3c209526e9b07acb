"""One Flower run from start to end: watched while it goes, stopped at the SuperLink when we are interrupted.

`flwr run --stream` only follows a run; the run itself lives in the SuperLink, and would go on after its follower is gone.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from federated_trainer.errors import TrainerError
from federated_trainer.network import stop_run_command

_RUN_ID = re.compile(r"[Ss]uccessfully started run (\d+)")
_FAILED = re.compile(r"exception was raised|ERROR\s*:.*(?:run|app|stream)|finished:failed", re.IGNORECASE)
_LOOK_EVERY_S = 0.5
_STOP_TIMEOUT_S = 30.0
_SHOWN_LINES = 12


def run_to_end(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    timeout_s: float | None = None,
    watch: Callable[[], None] = lambda: None,
) -> None:
    """Start `command` (`run_command`), wait for its end. Its output is appended to `log`.

    Raises TrainerError where it failed or took longer than `timeout_s`; on that and on Ctrl-C the run is stopped.
    """
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
            process.wait(timeout=_STOP_TIMEOUT_S)
            _stop(_written(log, begins_at), environment)
            raise
    written = _written(log, begins_at)
    if process.returncode != 0 or _FAILED.search(written):
        shown = "\n".join(line for line in written.splitlines() if line.strip())
        raise TrainerError(
            f"The rounds failed; the served model stays. The end of {log}:\n" + "\n".join(shown.splitlines()[-_SHOWN_LINES:])
        )


def _stop(written: str, environment: Mapping[str, str]) -> None:
    found = _RUN_ID.search(written)
    if found is not None:
        subprocess.run(  # noqa: S603 - our own command
            stop_run_command(found[1]), env=dict(environment), capture_output=True, timeout=_STOP_TIMEOUT_S, check=False
        )


def _written(log: Path, begins_at: int) -> str:
    with log.open("rb") as file:
        file.seek(begins_at)
        return re.sub(r"\x1b\[[0-9;]*m", "", file.read().decode("utf-8", "replace"))
