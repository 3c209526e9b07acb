"""Start everything on this machine: Valkey, vLLM on the CPU, the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.serving import checks, demo, plan
from gateway.serving.local_key import LocalKey
from gateway.serving.relay import Relay
from gateway.serving.supervisor import ChildFailedError, State, Status, Supervisor
from gateway.settings import Settings

app = typer.Typer(help=__doc__)
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


@app.command()
def up(
    upstream: Annotated[str | None, typer.Option(help="A running OpenAI-compatible server (…/v1) instead of a vLLM of our own.")] = None,
    port: Annotated[int | None, typer.Option(help="The gateway's port. [default: 8080]")] = None,
    vllm_python: Annotated[Path, typer.Option(help="The Python of vLLM's environment.")] = Path(".venv-vllm/bin/python"),
    show: Annotated[
        bool, typer.Option("--demo", help="Send one request with personal data, and show what the model server received.")
    ] = False,
    picture: Annotated[Path | None, typer.Option(help="Also write what --demo shows to this file, as SVG.")] = None,
) -> None:
    """Start Valkey, vLLM on the CPU and the gateway, and keep them running until Ctrl-C.

    Logs are under DATA_DIR/logs. A process that ends by itself is started again.
    """
    console = Console()
    settings = Settings.from_process(upstream=upstream, port=port)
    show = show or picture is not None
    if show and settings.env == "production":
        console.print("--demo shows plaintext on the terminal and is refused in production.", style="red")
        raise typer.Exit(EXIT_FAILED)
    with _only_one(settings.data_dir, console):
        wrong = [each for each in checks.before_up(settings, vllm_python) if each.needed and not each.is_well]
        for each in wrong:
            console.print(Text.assemble(("✗ ", "red"), f"{each.name}: {each.found}\n  → {each.mend}"), soft_wrap=True)
        if wrong:
            raise typer.Exit(EXIT_FAILED)
        raise typer.Exit(asyncio.run(_run(settings, vllm_python, show, picture, console)))


@contextlib.contextmanager
def _only_one(data_dir: Path, console: Console) -> Iterator[None]:
    """One `llmos up` per data directory: the lock goes with the process."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data_dir / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            console.print(
                f"llmos already runs on {data_dir} (process {lock.read().strip()}). Stop it, or set another LLMOS_DATA_DIR.", style="red"
            )
            raise typer.Exit(EXIT_FAILED) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


async def _run(settings: Settings, vllm_python: Path, show: bool, picture: Path | None, console: Console) -> int:
    vllm = None if settings.upstream else plan.local_vllm(settings, vllm_python)
    upstream_url = settings.upstream or (vllm.base_url if vllm else "")
    relay = Relay(upstream_url) if show else None
    relaying = asyncio.create_task(relay.serve()) if relay else None
    key = LocalKey.of(settings, demonstrates=show)
    screen = _Screen(console)
    children = plan.children(settings, vllm, relay.base_url if relay else upstream_url, key.value)
    supervisor = Supervisor(children, settings.data_dir / "logs", screen.changed)
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
        model = await demo.first_model(settings.base_url, key.value) if key.value else plan.MODEL_NAME
        if relay and key.value:
            await _demonstrate(settings, key.value, model, relay, picture, console)
        key.remember(settings)
        _explain(settings, key, model, console)
        await stop.wait()
    except (ChildFailedError, demo.DemoError) as error:
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
        if relay and relaying:
            relay.stop()
            await relaying
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


async def _demonstrate(settings: Settings, key: str, model: str, relay: Relay, picture: Path | None, console: Console) -> None:
    console.print("\nOne request with personal data (all of it fictitious):")
    try:
        shown = await demo.run(settings.base_url, key, model, relay)
    except demo.DemoError as error:
        console.print(Text(f"The demonstration failed: {error}", "red"))
    else:
        console.print(demo.table(shown))
        if picture is not None:
            await asyncio.to_thread(picture.write_text, demo.picture(shown), "utf-8")
            console.print(f"Drawn to {picture}.")


def _explain(settings: Settings, key: LocalKey, model: str, console: Console) -> None:
    question = '[{"role": "user", "content": "I am Sarah Connor. Who am I?"}]'
    lines = f"""
The gateway serves {settings.base_url}. {key.explanation}

  curl {settings.base_url}/chat/completions -H "Authorization: Bearer {key.for_shell}" \\
    -H 'Content-Type: application/json' -d '{{"model": "{model}", "messages": {question}}}'

  from openai import OpenAI
  client = OpenAI(base_url="{settings.base_url}", api_key={key.for_python})
  answer = client.chat.completions.create(model="{model}", messages={question})
  print(answer.choices[0].message.content)

Ctrl-C stops everything. Logs: {settings.data_dir / "logs"}"""
    console.print(Text(lines), soft_wrap=True)
