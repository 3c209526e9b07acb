"""Runs processes under the supervisor for a command: progress on the terminal, then until Ctrl-C, then an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.serving.demo import DemoError
from gateway.serving.supervisor import Child, ChildFailedError, State, Status, Supervisor

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
COLOURS = {
    State.READY: "green",
    State.STARTING: "yellow",
    State.WAITING: "dim",
    State.STOPPED: "dim",
    State.UNWELL: "red",
    State.RESTARTING: "red",
}
EXIT_FAILED = 1


async def run_until_stopped(children: Sequence[Child], log_dir: Path, console: Console, when_ready: Callable[[], Awaitable[None]]) -> int:
    """The exit status. `when_ready` runs once all children are; a second Ctrl-C while stopping kills what is left."""
    screen = _Screen(console)
    supervisor = Supervisor(children, log_dir, screen.changed)
    stop = _stop_event()
    try:
        with screen.live(supervisor):
            starting = asyncio.create_task(supervisor.start())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            return 0
        starting.result()
        await when_ready()
        await stop.wait()
    except (ChildFailedError, DemoError) as error:
        console.print(Text(str(error), "red"), soft_wrap=True)
        return EXIT_FAILED
    else:
        return 0
    finally:
        console.print("Stopping…")
        ending = asyncio.create_task(supervisor.stop())
        stop.clear()
        impatience = asyncio.create_task(stop.wait())
        await asyncio.wait([ending, impatience], return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)
        console.print("Stopped.")


def _stop_event() -> asyncio.Event:
    """Set by Ctrl-C, SIGTERM and a closed terminal."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    return stop


class _Screen:
    """The progress of the start: a table that is redrawn on a terminal, a line for each change elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._started = False

    def changed(self, status: Status) -> None:
        if self._started and status.state in (State.READY, State.UNWELL, State.RESTARTING):
            self.console.print(
                Text.assemble(f"{status.name}: ", (status.state.value, COLOURS[status.state]), f" ({status.restarts} restarts)")
            )
        elif not self._started and not self.console.is_terminal:
            self.console.print(f"{status.name}: {status.state.value}")

    @contextlib.contextmanager
    def live(self, supervisor: Supervisor) -> Iterator[None]:
        if self.console.is_terminal:
            with Live(console=self.console, refresh_per_second=4, get_renderable=lambda: _rows(supervisor.statuses)):
                yield
        else:
            yield
        self._started = True


def _rows(statuses: list[Status]) -> Table:
    rows = Table(box=None, show_header=False, padding=(0, 1))
    for status in statuses:
        clock = f"{status.elapsed_s:.0f} s" if status.state is State.STARTING else ""
        rows.add_row(status.name, Text(status.state.value, COLOURS[status.state]), clock)
    return rows
