"""Secret-shared inference: set it up, run its processes, ask how they do, chat with it.

On three hosts: `init` with their addresses once, copy each folder under hosts/ to its host, run `dealer` and `party` there, and give the
gateway LLMOS_MPC_CONFIG. `up` runs all three here, which shows the protocol and gives no privacy.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.commands._mpc_local import bar, local_deployment
from gateway.commands._supervised import run_until_stopped
from gateway.serving import mpc_processes
from gateway.settings import Settings
from mpc_inference import folders, launch
from mpc_inference.blind import blind_client
from mpc_inference.client import Client
from mpc_inference.config import Endpoint, read_blind
from mpc_inference.errors import ConfigInvalid, MpcError
from mpc_inference.sampling import Sampling

app = typer.Typer(help=__doc__, no_args_is_help=True)
EXIT_FAILED = 1


class Weights(StrEnum):
    """Who may see the weights."""

    PUBLIC = "public"
    OWNER = "owner"
    SHARED = "shared"


LOCAL = ("127.0.0.1", "::1", "localhost")
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="The file mpc.yaml. [default: LLMOS_MPC_CONFIG, else DATA_DIR/mpc/mpc.yaml]")
]
Bind = Annotated[str | None, typer.Option(help="The address to listen on. [default: the one of the file]")]


@app.callback()
def mpc() -> None:
    """Secret-shared inference: set it up, run its processes, ask how they do, chat with it."""


@app.command()
def init(
    out: Annotated[Path | None, typer.Option(help="Where to write. [default: DATA_DIR/mpc]")] = None,
    model: Annotated[Path | None, typer.Option(help="A Hugging Face Llama directory. [default: DATA_DIR/models/smollm2]")] = None,
    mode: Annotated[
        Weights, typer.Option(help="public: open weights. owner: party 1 owns them. shared: shared between the parties.")
    ] = Weights.PUBLIC,
    dealer: Annotated[str, typer.Option(help="HOST:PORT of the dealer.")] = "127.0.0.1:9500",
    party0: Annotated[str, typer.Option(help="HOST:PORT of party 0.")] = "127.0.0.1:9501",
    party1: Annotated[str, typer.Option(help="HOST:PORT of party 1.")] = "127.0.0.1:9502",
    folders_too: Annotated[bool, typer.Option("--folders", help="Write the hosts' folders even where all is on this machine.")] = False,
) -> None:
    """Make certificates and keys, prepare the model, and write mpc.yaml; for several hosts a folder for each."""
    console = Console(highlight=False)
    settings = Settings.from_process()
    places = launch.Places(_endpoint(dealer), (_endpoint(party0), _endpoint(party1)))
    with _failing(console):
        with bar(console, "preparing the model") as progress:
            config = launch.init(out or settings.data_dir / "mpc", model or settings.model_dir, progress, places, mode.value)
        console.print(f"wrote {config}", soft_wrap=True)
        if not folders_too and all(place.host in LOCAL for place in (places.dealer, *places.parties)):
            console.print("Next: llmos mpc up (all three on this machine, which gives no privacy).")
            return
        for folder in folders.write(config):
            console.print(f"wrote {folder}", soft_wrap=True)
        console.print(
            "Copy each folder to its host, and nothing else; keep certificates/ca.key offline. Then, in the folder:\n"
            "  dealer   llmos mpc dealer --config mpc.yaml\n"
            "  party0   llmos mpc party --index 0 --config mpc.yaml\n"
            "  party1   llmos mpc party --index 1 --config mpc.yaml\n"
            "  client   LLMOS_MPC_CONFIG=client/mpc.yaml llmos serve\n"
            "  blind    for callers who share by themselves (llmos mpc chat --blind)"
        )


@app.command()
def up(config: ConfigFile = None) -> None:
    """Run dealer and both parties on this machine until Ctrl-C. One operator then holds all shares: no privacy."""
    console = Console(highlight=False)
    settings = Settings.from_process()
    with _failing(console):
        if settings.env == "production":
            raise ConfigInvalid(f"`llmos mpc up` refuses in production. {launch.ONE_OPERATOR}")
        console.print(Text(launch.ONE_OPERATOR, "yellow"))
        file = config or settings.mpc_config or local_deployment(settings, console)

        async def ready() -> None:
            console.print(f"Ready. LLMOS_MPC_CONFIG={file} llmos serve …, or: llmos mpc chat --config {file}", soft_wrap=True)

        children = mpc_processes.children(file)
        raise typer.Exit(asyncio.run(run_until_stopped(children, settings.data_dir / "logs", console, ready)))


@app.command()
def dealer(
    config: Annotated[Path, typer.Option(help="The file mpc.yaml of this host's folder.")],
    bind: Bind = None,
) -> None:
    """Run the dealer of this host until Ctrl-C or SIGTERM."""
    _run("dealer", lambda progress: launch.run_dealer(config, progress, bind))


@app.command()
def party(
    config: Annotated[Path, typer.Option(help="The file mpc.yaml of this host's folder.")],
    index: Annotated[int, typer.Option(min=0, max=1, help="Which party this host is.")],
    bind: Bind = None,
) -> None:
    """Run one compute party on this host until Ctrl-C or SIGTERM."""
    _run(f"party {index}", lambda progress: launch.run_party(config, index, progress, bind))


@app.command()
def status(
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything that the parties tell, as JSON.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Again every second, until Ctrl-C.")] = False,
) -> None:
    """Ask both parties: ready or why not, queue, tokens, rounds, bytes."""
    console = Console(highlight=False)
    file = _file(config, Settings.from_process())
    with _failing(console):
        both = launch.status(file)
        if as_json:
            typer.echo(json.dumps(both))
        elif watch:
            with Live(_table(both), console=console) as live, contextlib.suppress(KeyboardInterrupt):
                while True:
                    time.sleep(1.0)
                    live.update(_table(launch.status(file)))
        else:
            console.print(_table(both))
        if not all(one["ready"] for one in both):
            raise typer.Exit(EXIT_FAILED)


@app.command()
def chat(
    config: ConfigFile = None,
    system: Annotated[str | None, typer.Option(help="A system prompt.")] = None,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0 takes the likeliest token.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="The longest answer.")] = 256,
    blind: Annotated[str | None, typer.Option(help="A gateway (…/v1) that carries sealed boxes; --config is then blind.yaml.")] = None,
    key: Annotated[str | None, typer.Option(envvar="LLMOS_DEV_KEY", help="With --blind: the API key.", show_envvar=True)] = None,
    model: Annotated[str, typer.Option(help="With --blind: the secret-shared model's name.")] = "smollm2-mpc",
) -> None:
    """Chat with the parties; your words are shared in this process. An empty line or Ctrl-D ends it.

    Without --blind it speaks to the parties itself, with the client's certificate. With it a gateway carries what it can't read.
    """
    console = Console(highlight=False)
    with _failing(console), contextlib.closing(_client(config, blind, key, model)) as client:
        console.print(Text("Each party gets one share of what you type. An empty line ends the chat.", "dim"))
        messages = [{"role": "system", "content": system}] if system else []
        while said := _typed(console):
            messages.append({"role": "user", "content": said})
            try:
                answer = asyncio.run(_answer(client, messages, Sampling(temperature), max_tokens, console))
            except MpcError as error:
                console.print(Text(str(error), "red"))
                messages.pop()
            else:
                messages.append({"role": "assistant", "content": answer})


def _client(config: Path | None, gateway_url: str | None, key: str | None, model: str) -> Client:
    if gateway_url is None:
        return launch.client(_file(config, Settings.from_process()))
    if config is None or not key:
        raise ConfigInvalid("--blind needs --config blind.yaml, from the deployment's operator, and a key: LLMOS_DEV_KEY or --key")
    return blind_client(read_blind(config), gateway_url, key, model)


async def _answer(client: Client, messages: list[dict[str, str]], sampling: Sampling, max_tokens: int, console: Console) -> str:
    prompt = client.tokens.chat(messages)
    bound = max(1, min(max_tokens, client.context_tokens - len(prompt)))
    answer, begun_s, first_s, count = "", time.monotonic(), 0.0, 0
    async with aclosing(client.generate(prompt, max_tokens=bound, sampling=sampling)) as pieces:
        async for piece in pieces:
            first_s = first_s or time.monotonic() - begun_s
            count += 1
            answer += piece.text
            console.out(piece.text, end="", highlight=False)
    each_s = (time.monotonic() - begun_s - first_s) / max(1, count - 1)
    console.print()
    console.print(Text(f"{len(prompt)} prompt tokens, first token after {first_s:.1f} s, then {each_s:.2f} s a token", "dim"))
    return answer


def _typed(console: Console) -> str:
    try:
        return console.input("[bold]you[/bold]  ").strip()
    except (EOFError, KeyboardInterrupt):
        console.print()
        return ""


def _table(both: list[dict[str, Any]]) -> Table:
    rows = (
        ("ready", lambda one: "yes" if one["ready"] else f"no: {one['trouble']}"),
        ("requests in the queue", lambda one: one["requests"]),
        ("tokens ready for the next request", lambda one: one["ready_tokens"]),
        ("answers ready (private weights)", lambda one: one["ready_answers"]),
        ("tokens computed", lambda one: one["tokens"]),
        ("passes", lambda one: one["passes"]),
        ("rounds", lambda one: one["rounds"]),
        ("rounds a pass", lambda one: one["rounds"] // one["passes"] if one["passes"] else 0),
        ("sent to the other party, MB", lambda one: f"{one['peer_sent_bytes'] / 1e6:.1f}"),
        ("received from the dealer, MB", lambda one: f"{one['dealer_received_bytes'] / 1e6:.1f}"),
        ("seconds online", lambda one: one["online_s"]),
        ("epochs", lambda one: one["epochs"]),
    )
    table = Table(box=None)
    for title in ("", "party 0", "party 1"):
        table.add_column(title)
    for title, show in rows:
        table.add_row(title, *(str(show(one)) for one in both))
    return table


def _file(config: Path | None, settings: Settings) -> Path:
    return config or settings.mpc_config or settings.data_dir / "mpc" / "mpc.yaml"


def _endpoint(text: str) -> Endpoint:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise typer.BadParameter(f"{text} is not HOST:PORT")
    return Endpoint(host=host.strip("[]"), port=int(port))


def _run(what: str, role: Callable[[launch.Progress], None]) -> None:
    """One role in this process, with a bar while the weights load."""
    console = Console(highlight=False, stderr=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    with _failing(console), bar(console, f"{what}: loading the weights") as progress:
        role(progress)


@contextlib.contextmanager
def _failing(console: Console) -> Iterator[None]:
    """An error of the engine is one line that says how to mend it."""
    try:
        yield
    except MpcError as error:
        console.print(Text(str(error), "red"), soft_wrap=True)
        raise typer.Exit(EXIT_FAILED) from None
