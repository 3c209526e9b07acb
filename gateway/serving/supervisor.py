"""Keeps a set of child processes running, from first start to clean end.

Each child starts when those that it comes `after` are ready, is ready when its health check says so, and is started again
with growing delays when it ends by itself. The end is orderly: in reverse order SIGTERM, a while, SIGKILL to the whole
process group. Should the supervisor itself be killed, the tether (see `tether`) ends the children on Linux.
It guards against crashes, not against a child that means harm: the children run as the same user.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from gateway.serving.bounded_log import BoundedLog, last_lines
from gateway.serving.tether import tethered

POLL_INTERVAL_S = 0.25  # while starting
HEALTH_INTERVAL_S = 5.0  # once ready
FIRST_START_ATTEMPTS = 2  # then the whole start fails: a wrong setting does not mend itself
FIRST_DELAY_S, MAX_DELAY_S = 1.0, 60.0
STEADY_AFTER_S = 60.0  # a child that was ready this long starts again with the first delay
PUMP_TIMEOUT_S = 2.0  # for the last output, should a process outside the group hold the pipe open
READ_BYTES = 64 * 1024


class State(StrEnum):
    WAITING = "waiting"  # for those that it comes after
    STARTING = "starting"
    READY = "ready"
    UNWELL = "unwell"  # runs, but its health check fails
    RESTARTING = "restarting"  # ended by itself; the delay runs
    STOPPED = "stopped"


class ChildFailedError(RuntimeError):
    """A child did not become ready; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Child:
    """What to run. `is_ready` may block, for a few seconds at most; `environment` comes on top of ours (None unsets)."""

    name: str
    argv: Sequence[str] = field(repr=False)
    is_ready: Callable[[], bool]
    environment: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    after: Sequence[str] = ()
    start_timeout_s: float = 60.0
    stop_timeout_s: float = 15.0


@dataclass(slots=True)
class Status:
    """What a display shows of one child."""

    name: str
    state: State = State.WAITING
    since_s: float = field(default_factory=time.monotonic)
    restarts: int = 0
    pid: int | None = None

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.since_s


@dataclass(slots=True)
class _Running:
    child: Child
    status: Status
    first_ready: asyncio.Event = field(default_factory=asyncio.Event)
    process: asyncio.subprocess.Process | None = None
    pump: asyncio.Task[None] | None = None


class Supervisor:
    """Runs `children`, given in an order in which each comes after its `after`. Use from the main thread's event loop."""

    def __init__(self, children: Sequence[Child], log_dir: Path, on_change: Callable[[Status], None] = lambda status: None) -> None:
        self.log_dir = log_dir
        self._on_change = on_change
        self._running = {child.name: _Running(child, Status(child.name)) for child in children}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    @property
    def statuses(self) -> list[Status]:
        return [one.status for one in self._running.values()]

    async def start(self) -> None:
        """Returns when every child is ready. Raises ChildFailedError; call `stop` in any case."""
        self._tasks = [asyncio.create_task(self._keep(one), name=one.child.name) for one in self._running.values()]
        all_ready = asyncio.create_task(self._await_ready(list(self._running)))
        await asyncio.wait([all_ready, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        all_ready.cancel()
        for task in self._tasks:
            if task.done():
                task.result()  # raises

    async def stop(self) -> None:
        """Ends all children, the last started first. Cancelling it, or a second call, kills what still runs."""
        impatient, self._stopping = self._stopping, True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            for one in reversed(self._running.values()):
                await self._end(one, 0.0 if impatient else one.child.stop_timeout_s)
        finally:
            for one in self._running.values():
                _kill_group(one.process)

    async def _await_ready(self, names: Sequence[str]) -> None:
        for name in names:
            await self._running[name].first_ready.wait()

    async def _keep(self, one: _Running) -> None:
        """The life of one child: start, watch, start again."""
        await self._await_ready(one.child.after)
        delay_s, attempts = FIRST_DELAY_S, 0
        while True:
            attempts += 1
            process = await self._launch(one)
            ready_s = 0.0
            if await self._becomes_ready(one, process):
                one.first_ready.set()
                self._show(one, State.READY)
                ready_s = await self._watch(one, process)
            await self._end(one, one.child.stop_timeout_s)
            if not one.first_ready.is_set() and attempts >= FIRST_START_ATTEMPTS:
                log = self._log_path(one.child)
                raise ChildFailedError(
                    f"{one.child.name} did not start (exit status {process.returncode}). The end of {log}:\n{last_lines(log)}"
                )
            delay_s = FIRST_DELAY_S if ready_s >= STEADY_AFTER_S else delay_s
            one.status.restarts += 1
            self._show(one, State.RESTARTING)
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, MAX_DELAY_S)

    async def _launch(self, one: _Running) -> asyncio.subprocess.Process:
        environment = {**os.environ, **one.child.environment}
        one.process = await asyncio.create_subprocess_exec(
            *tethered(one.child.argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={name: value for name, value in environment.items() if value is not None},
            start_new_session=True,  # the terminal's Ctrl-C reaches the supervisor alone, which then ends the children in order
        )
        one.pump = asyncio.create_task(_pump(one.process, self._log_path(one.child)))
        one.status.pid = one.process.pid
        self._show(one, State.STARTING)
        return one.process

    async def _becomes_ready(self, one: _Running, process: asyncio.subprocess.Process) -> bool:
        deadline_s = time.monotonic() + one.child.start_timeout_s
        while process.returncode is None and time.monotonic() < deadline_s:
            if await asyncio.to_thread(one.child.is_ready) and process.returncode is None:
                return True
            await asyncio.sleep(POLL_INTERVAL_S)
        return False

    async def _watch(self, one: _Running, process: asyncio.subprocess.Process) -> float:
        """Returns when the process has ended, with the seconds that it was up."""
        ready_at_s = time.monotonic()
        while process.returncode is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), HEALTH_INTERVAL_S)
                break
            state = State.READY if await asyncio.to_thread(one.child.is_ready) else State.UNWELL
            if state != one.status.state and process.returncode is None:
                self._show(one, state)
        return time.monotonic() - ready_at_s

    async def _end(self, one: _Running, timeout_s: float) -> None:
        process = one.process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), timeout_s)
        _kill_group(process)
        await process.wait()
        if one.pump is not None:
            await asyncio.wait([one.pump], timeout=PUMP_TIMEOUT_S)
            one.pump.cancel()
        one.process = one.pump = one.status.pid = None
        self._show(one, State.STOPPED)

    def _log_path(self, child: Child) -> Path:
        return self.log_dir / f"{child.name}.log"

    def _show(self, one: _Running, state: State) -> None:
        one.status.state, one.status.since_s = state, time.monotonic()
        self._on_change(one.status)


async def _pump(process: asyncio.subprocess.Process, path: Path) -> None:
    """Copies a child's output to its log until every process of its group has closed it."""
    if process.stdout is None:
        raise RuntimeError("the child was started without a pipe")
    log = BoundedLog(path)
    try:
        while data := await process.stdout.read(READ_BYTES):
            log.write(data)
    finally:
        log.close()


def _kill_group(process: asyncio.subprocess.Process | None) -> None:
    """Kills what is left of a child's process group; the group outlives its leader while it has members."""
    if process is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
