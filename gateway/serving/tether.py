"""Runs a command that dies with the process that started it.

    python -I tether.py PARENT_PID COMMAND…

On Linux the kernel sends SIGTERM to the command when its parent dies, even by SIGKILL (prctl(2), PR_SET_PDEATHSIG;
kept across execve). "Parent" means the thread that started it, so start tethered commands from the main thread.
Elsewhere the command merely runs: there a parent that is killed outright leaves its children behind.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
EXIT_PARENT_GONE = 1


def tethered(argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` tethered to this process."""
    return [sys.executable, "-I", str(Path(__file__).absolute()), str(os.getpid()), *argv]


def end_with_parent(parent_pid: int) -> None:
    """From now on SIGTERM comes to this process when its parent dies. Raises SystemExit where the parent is gone already."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
        if os.getppid() != parent_pid:  # it died before the line above took effect
            raise SystemExit(EXIT_PARENT_GONE)


def main(parent_pid: int, argv: Sequence[str]) -> None:
    end_with_parent(parent_pid)
    os.execvp(argv[0], list(argv))  # noqa: S606 - the command is the supervisor's own


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
