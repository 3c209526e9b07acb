"""Several gateway processes behind one listening socket, and a restart that loses nothing.

    SIGTERM, SIGINT   every worker finishes what it has, then all end; a second one kills
    SIGHUP            settings are read again, and workers are replaced one by one: the next goes only when its successor is ready
    a worker ends     another starts, with growing delays while they keep ending early
    a worker hangs    it is killed and replaced: each says once a second that its event loop turns

The parent serves nothing and holds no key. Connections wait in the socket's queue while no worker accepts. Workers end with their parent
on Linux (see `tether`).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from gateway.settings import Settings, SettingsError

Run = Callable[[Settings, socket.socket, Connection, int, bool], None]
READY = b"ready"
TICK_S = 0.25
SILENCE_S = 10.0  # then a worker counts as hung
START_S = 120.0  # then a worker that never got ready counts as hung
STEADY_AFTER_S = 30.0
FIRST_DELAY_S, MAX_DELAY_S = 0.5, 30.0
FIRST_START_ATTEMPTS = 3
EXIT_FAILED = 1


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    pipe: Connection
    started_s: float
    heard_s: float
    ready: bool = False
    kill_at_s: float | None = None  # set once it was told to leave

    def leave(self, within_s: float) -> None:
        if self.kill_at_s is None and self.process.is_alive():
            self.process.terminate()
        self.kill_at_s = self.kill_at_s or time.monotonic() + within_s


class Workers:
    """`count` processes that each call `run(settings, listener, pipe, parent_pid, warm)`, which writes READY to the pipe once a second."""

    def __init__(self, count: int, read_settings: Callable[[], Settings], run: Run, say: Callable[[str], None]) -> None:
        self._count = count
        self._read_settings = read_settings
        self._settings = read_settings()
        self._run = run
        self._say = say
        self._workers: list[_Worker] = []
        self._to_replace: list[_Worker] = []
        self._successor: _Worker | None = None
        self._start_after_s = 0.0
        self._delay_s = FIRST_DELAY_S
        self._failed_starts = 0
        self._ever_ready = False
        self._stopping = False
        self._status = 0

    def serve(self) -> int:
        """Until a signal ends it; the exit status. Call it from the main thread."""
        with _listener(self._settings) as listener:
            self._listener = listener
            for number, handler in ((signal.SIGTERM, self._on_stop), (signal.SIGINT, self._on_stop), (signal.SIGHUP, self._on_roll)):
                signal.signal(number, handler)
            while not (self._stopping and not self._workers):
                self._hear()
                self._judge()
                if not self._stopping:
                    self._replace()
                    self._fill()
        return self._status

    def _on_stop(self, number: int, frame: Any) -> None:
        impatient, self._stopping = self._stopping, True
        for worker in self._workers:
            if impatient:
                worker.process.kill()
            worker.leave(self._patience_s)

    def _on_roll(self, number: int, frame: Any) -> None:
        if self._stopping or self._to_replace:
            return
        try:
            self._settings = self._read_settings()
        except SettingsError as error:
            self._say(f"nothing is restarted: {error}")
            return
        self._to_replace = [worker for worker in self._workers if worker.kill_at_s is None]

    @property
    def _patience_s(self) -> float:
        return self._settings.drain_delay_s + self._settings.drain_timeout_s + SILENCE_S

    def _hear(self) -> None:
        """Take what the workers say, for a tick at most."""
        pipes = {worker.pipe: worker for worker in self._workers if not worker.pipe.closed}
        if not pipes:
            time.sleep(TICK_S)
        for pipe in wait(list(pipes), TICK_S):
            assert isinstance(pipe, Connection)
            worker = pipes[pipe]
            try:
                message = pipe.recv_bytes()
            except (EOFError, OSError):
                pipe.close()
                continue
            worker.heard_s = time.monotonic()
            worker.ready = self._ever_ready = worker.ready or message == READY

    def _judge(self) -> None:
        """Bury the dead, kill the hung."""
        now = time.monotonic()
        for worker in list(self._workers):
            if not worker.process.is_alive():
                self._bury(worker, now)
            elif worker.kill_at_s is not None:
                if now > worker.kill_at_s:
                    worker.process.kill()
            elif now - worker.heard_s > (SILENCE_S if worker.ready else START_S):
                self._say(f"worker {worker.process.pid} does not answer; it is killed")
                worker.process.kill()

    def _bury(self, worker: _Worker, now: float) -> None:
        worker.process.join()
        worker.pipe.close()
        self._workers.remove(worker)
        for path in _live_gauges(worker.process.pid):
            path.unlink(missing_ok=True)
        if worker.kill_at_s is not None:
            return
        self._say(f"worker {worker.process.pid} ended by itself (exit status {worker.process.exitcode})")
        if worker is self._successor:
            self._say("the restart is given up; the workers that serve go on")
            self._successor, self._to_replace = None, []
            return
        steady = now - worker.started_s >= STEADY_AFTER_S
        self._delay_s = FIRST_DELAY_S if steady else min(2 * self._delay_s, MAX_DELAY_S)
        self._start_after_s = now + (0.0 if worker.ready and steady else self._delay_s)
        if not self._ever_ready:
            self._failed_starts += 1
            if self._failed_starts >= FIRST_START_ATTEMPTS:
                self._say("the workers do not start; see the lines above")
                self._status = EXIT_FAILED
                self._on_stop(signal.SIGTERM, None)

    def _replace(self) -> None:
        """One step of a restart: a successor is started, or, where it is ready, its predecessor told to leave."""
        self._to_replace = [worker for worker in self._to_replace if worker in self._workers]
        if self._successor is None and self._to_replace:
            self._successor = self._start(warm=True)
        elif self._successor is not None and self._successor.ready:
            self._successor = None
            if self._to_replace:
                self._to_replace.pop(0).leave(self._patience_s)

    def _fill(self) -> None:
        serving = [worker for worker in self._workers if worker.kill_at_s is None and worker is not self._successor]
        if len(serving) < self._count and time.monotonic() >= self._start_after_s:
            for _ in range(self._count - len(serving)):
                self._start(warm=False)

    def _start(self, *, warm: bool) -> _Worker:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=self._run, args=(self._settings, self._listener, theirs, os.getpid(), warm))
        process.start()
        theirs.close()
        worker = _Worker(process, ours, time.monotonic(), time.monotonic())
        self._workers.append(worker)
        return worker


def _listener(settings: Settings) -> socket.socket:
    """Bound here, once, so that no connection is refused while workers change."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise SettingsError(f"{settings.host}:{settings.port} can't be bound: {error.strerror}; choose another LLMOS_PORT") from None
    listener.listen(2048)
    return listener


def _live_gauges(pid: int | None) -> list[Path]:
    """The files in which a dead process would go on counting as alive (see gateway.http.metrics)."""
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return list(Path(directory).glob(f"gauge_live*_{pid}.db")) if directory else []


def print_line(text: str) -> None:
    print(f"llmos: {text}", file=sys.stderr, flush=True)
