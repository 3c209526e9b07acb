"""Start everything on this machine: Valkey, vLLM on the CPU, the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from gateway.commands._supervised import run_until_stopped
from gateway.serving import checks, demo, plan
from gateway.serving.local_key import LocalKey
from gateway.serving.relay import Relay
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.commands._mpc_local import LocalMpc

app = typer.Typer(help=__doc__)
EXIT_FAILED = 1


class Extra(StrEnum):
    """What can be started besides."""

    MPC = "mpc"


@app.command()
def up(
    upstream: Annotated[str | None, typer.Option(help="A running OpenAI-compatible server (…/v1) instead of a vLLM of our own.")] = None,
    port: Annotated[int | None, typer.Option(help="The gateway's port. [default: 8080]")] = None,
    vllm_python: Annotated[Path, typer.Option(help="The Python of vLLM's environment.")] = Path(".venv-vllm/bin/python"),
    show: Annotated[
        bool, typer.Option("--demo", help="Send one request with personal data, and show what the model server received.")
    ] = False,
    extra: Annotated[
        list[Extra] | None, typer.Option("--with", help="mpc: secret-shared inference too, all three processes on this machine.")
    ] = None,
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
        mpc = _mpc(settings, show, console) if Extra.MPC in (extra or ()) else None
        raise typer.Exit(asyncio.run(_run(settings, vllm_python, show, picture, mpc, console)))


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


async def _run(settings: Settings, vllm_python: Path, show: bool, picture: Path | None, mpc: LocalMpc | None, console: Console) -> int:
    vllm = None if settings.upstream else plan.local_vllm(settings, vllm_python)
    upstream_url = settings.upstream or (vllm.base_url if vllm else "")
    relay = Relay(upstream_url) if show else None
    relaying = asyncio.create_task(relay.serve()) if relay else None
    key = LocalKey.of(settings, demonstrates=show)
    secret_shared = ([], None) if mpc is None else (mpc.children, mpc.config)
    children = plan.children(settings, vllm, relay.base_url if relay else upstream_url, key.value, *secret_shared)

    async def ready() -> None:
        model = await demo.first_model(settings.base_url, key.value) if key.value else plan.MODEL_NAME
        if relay and key.value:
            await _demonstrate(settings, key.value, model, relay, picture, console)
            if mpc is not None:
                await mpc.demonstrate(settings, key.value, console)
        key.remember(settings)
        _explain(settings, key, model, console)

    try:
        return await run_until_stopped(children, settings.data_dir / "logs", console, ready)
    finally:
        if relay and relaying:
            relay.stop()
            await relaying


def _mpc(settings: Settings, demonstrates: bool, console: Console) -> LocalMpc:
    """The MPC processes of this machine; their libraries are an extra, so they are imported here."""
    try:
        from gateway.commands._mpc_local import LocalMpc
        from mpc_inference.errors import MpcError
    except ImportError as error:
        console.print(
            f"--with mpc needs {error.name}, which is not installed: make setup WITH=mpc, or pip install 'llmos[mpc]'", style="red"
        )
        raise typer.Exit(EXIT_FAILED) from None
    try:
        return LocalMpc.of(settings, console, demonstrates=demonstrates)
    except MpcError as error:
        console.print(Text(str(error), "red"), soft_wrap=True)
        raise typer.Exit(EXIT_FAILED) from None


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
