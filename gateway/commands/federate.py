"""Train together with other institutions: rounds, versions, budgets, schedules.

The coordinator has a federation.toml, each institution its own institution.toml; docs/federated.md explains both.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from federated_trainer.demo.show import Outcome
    from federated_trainer.settings import FederationSettings

app = typer.Typer(help=__doc__, no_args_is_help=True)
console = Console()
EXIT_FAILED = 1

Federation = Annotated[Path, typer.Option("--federation", "-f", help="The coordinator's settings.", exists=True, dir_okay=False)]
Institution = Annotated[Path, typer.Option("--institution", "-i", help="The institution's settings.", exists=True, dir_okay=False)]
FlowerHome = Annotated[Path, typer.Option(help="Where Flower keeps its files.")]


@contextmanager
def _told() -> Iterator[None]:
    """A TrainerError is one line and exit status 1, not a traceback."""
    from federated_trainer.errors import TrainerError

    try:
        yield
    except TrainerError as error:
        console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
        raise typer.Exit(EXIT_FAILED) from None


def _settings(path: Path) -> FederationSettings:
    from federated_trainer.settings import FederationSettings, read_settings

    return read_settings(path, FederationSettings)


@app.command()
def keys(folder: Annotated[Path, typer.Argument(help="Where the keys go; existing ones are kept.")]) -> None:
    """Make an institution's identity key and SuperNode key, and print what the coordinator needs of them."""
    from federated_trainer.network import make_node_key
    from federated_trainer.roster import make_identity, public_of, read_private_key

    with _told():
        identity, node = folder / "identity.key", folder / "node.key"
        public = public_of(read_private_key(identity)) if identity.exists() else make_identity(identity)
        if not node.exists():
            make_node_key(node)
        console.print(f"identity (for roster.json): {public.hex()}", markup=False, soft_wrap=True)
        console.print(f"SuperNode key (for `llmos federate register`): {node}.pub", markup=False, soft_wrap=True)


@app.command()
def certificates(
    folder: Annotated[Path, typer.Argument(help="Where ca.crt, server.crt and server.key go.")],
    host: Annotated[list[str], typer.Option(help="A name or address that clients reach the SuperLink by.")],
) -> None:
    """Make a private CA and the SuperLink's certificate. Send ca.crt to every institution."""
    from federated_trainer.network import make_certificates

    make_certificates(folder, host)
    console.print(f"written to {folder}", markup=False)


@app.command()
def server(
    tls: Annotated[Path, typer.Option(help="The folder of ca.crt, server.crt and server.key.", exists=True)],
    host: Annotated[str, typer.Option(help="The address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The SuperLink's port.")] = 9400,
    flower_home: FlowerHome = Path(".llmos/federate/flower"),
) -> None:
    """Start the SuperLink (TLS, authenticated SuperNodes) and keep it running until Ctrl-C."""
    from federated_trainer.network import flower_environment, superlink_command

    flower_home.mkdir(parents=True, exist_ok=True)
    with _told():
        _replace_process(superlink_command(host, port, tls, flower_home / "superlink.db"), flower_environment(flower_home, os.environ))


@app.command()
def register(
    public_key: Annotated[Path, typer.Argument(help="An institution's node.key.pub.", exists=True)],
    superlink: Annotated[str, typer.Option(help="host:port of the SuperLink.")] = "127.0.0.1:9400",
    ca: Annotated[Path, typer.Option(help="ca.crt of the SuperLink.", exists=True)] = Path("ca.crt"),
    flower_home: FlowerHome = Path(".llmos/federate/flower"),
) -> None:
    """Let an institution's SuperNode in, by its public key."""
    from federated_trainer.network import flower_environment, register_command, run_command

    with _told():
        run_command(flower_home, superlink, ca.absolute(), Path("-"), 0)
        done = subprocess.run(register_command(public_key), env=flower_environment(flower_home, os.environ), check=False)  # noqa: S603 - ours
        raise typer.Exit(done.returncode)


@app.command()
def client(
    institution: Institution,
    superlink: Annotated[str, typer.Option(help="host:port of the coordinator's SuperLink.")],
    ca: Annotated[Path, typer.Option(help="ca.crt of the SuperLink.", exists=True)],
    node_key: Annotated[Path, typer.Option(help="This institution's node.key.", exists=True)],
    port: Annotated[int, typer.Option(help="A free loopback port for the SuperNode itself.")] = 9401,
    flower_home: FlowerHome = Path(".llmos/federate/flower"),
) -> None:
    """Start this institution's SuperNode and keep it running until Ctrl-C. Its data stay here."""
    from federated_trainer.network import flower_environment, supernode_command
    from federated_trainer.settings import InstitutionSettings, read_settings

    with _told():
        read_settings(institution, InstitutionSettings)
        command = supernode_command(superlink, ca.absolute(), node_key.absolute(), institution.absolute(), port)
        _replace_process(command, flower_environment(flower_home, os.environ))


@app.command()
def run(
    federation: Federation,
    rounds: Annotated[int, typer.Option(help="How many rounds; 0: as many as the settings say.")] = 0,
    superlink: Annotated[str, typer.Option(help="host:port of the SuperLink.")] = "127.0.0.1:9400",
    ca: Annotated[Path, typer.Option(help="ca.crt of the SuperLink.", exists=True)] = Path("ca.crt"),
    flower_home: FlowerHome = Path(".llmos/federate/flower"),
) -> None:
    """Run rounds now, under the federation's lock, and show their progress."""
    with _told():
        from federated_trainer.schedule import Schedule, ScheduleFile, Scheduler

        file = ScheduleFile(flower_home / "run-now.json")
        file.write(Schedule("0 0 1 1 *", time.time(), paused=True, run_now=True))
        settings = _settings(federation)
        scheduler = Scheduler(file, _lock(settings), lambda: _run_rounds(federation, rounds, superlink, ca, flower_home))
        if not scheduler.tick(time.time()):
            console.print("A round of this federation is running already.", style="yellow")
            raise typer.Exit(EXIT_FAILED)


def _run_rounds(federation: Path, rounds: int, superlink: str, ca: Path, flower_home: Path) -> None:
    from federated_trainer.errors import TrainerError
    from federated_trainer.network import flower_environment, run_command

    command = run_command(flower_home, superlink, ca.absolute(), federation.absolute(), rounds)
    if subprocess.run(command, env=flower_environment(flower_home, os.environ), check=False).returncode != 0:  # noqa: S603 - ours
        raise TrainerError("The rounds failed; what stands above says why. The served model stays.")


@app.command()
def schedule(
    cron: Annotated[str | None, typer.Argument(help="Five fields, UTC: '0 3 * * 0' is Sundays at 03:00. Without it: show.")] = None,
    federation: Federation = Path("federation.toml"),
    pause: Annotated[bool, typer.Option("--pause", help="Keep the schedule, start no round.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="End a pause.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Let the scheduler run one round at once.")] = False,
) -> None:
    """Set, show, pause or resume when rounds run; `llmos federate scheduler` acts on it."""
    from federated_trainer.schedule import Schedule, ScheduleFile, check_cron, next_due

    with _told():
        file = ScheduleFile(_settings(federation).data_dir / "schedule.json")
        current = file.read()
        if cron is not None:
            current = Schedule(check_cron(cron), time.time())
        if current is None:
            console.print("No schedule is set. Example: llmos federate schedule '0 3 * * 0'")
            raise typer.Exit
        if pause or resume:
            # After a pause, only times from now on are due.
            current = replace(current, paused=pause, set_unix_s=current.set_unix_s if pause else time.time())
        if now:
            current = replace(current, run_now=True)
        if cron is not None or pause or resume or now:
            file.write(current)
        upcoming = datetime.fromtimestamp(next_due(current, time.time()), UTC)
        state = "paused" if current.paused else f"next at {upcoming:%Y-%m-%d %H:%M} UTC"
        console.print(f"{current.cron}  {state}{'  one round at once' if current.run_now else ''}", markup=False)


@app.command()
def scheduler(
    federation: Federation,
    superlink: Annotated[str, typer.Option(help="host:port of the SuperLink.")] = "127.0.0.1:9400",
    ca: Annotated[Path, typer.Option(help="ca.crt of the SuperLink.", exists=True)] = Path("ca.crt"),
    flower_home: FlowerHome = Path(".llmos/federate/flower"),
    once: Annotated[bool, typer.Option("--once", help="Look once, run what is due, end (for a CronJob).")] = False,
) -> None:
    """Run rounds when they are due, until Ctrl-C. Any number may run: a lock in the store lets one act."""
    from federated_trainer.errors import TrainerError
    from federated_trainer.schedule import ScheduleFile, Scheduler

    with _told():
        settings = _settings(federation)
        file = ScheduleFile(settings.data_dir / "schedule.json")
        acting = Scheduler(file, _lock(settings), lambda: _run_rounds(federation, 0, superlink, ca, flower_home))
        while True:
            try:
                acting.tick(time.time())
            except TrainerError as error:
                if once:
                    raise
                console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
            if once:
                return
            time.sleep(5.0)


def _lock(settings: FederationSettings):  # type: ignore[no-untyped-def]
    import redis

    from federated_trainer.round_lock import RoundLock
    from gateway.serving.store import store_address
    from gateway.settings import Settings

    address = store_address(Settings.from_process())
    return RoundLock(redis.Redis.from_url(address.url, **address.tls()), settings.name)


@app.command()
def status(federation: Federation) -> None:
    """What the coordinator is doing, and how each round went."""
    with _told():
        settings = _settings(federation)
        now, rounds = settings.data_dir / "status.json", settings.data_dir / "rounds.jsonl"
        if not now.exists():
            console.print("No round has run yet.")
            raise typer.Exit
        state = json.loads(now.read_text())
        console.print(
            f"{state['stage']}: {state['what']}  ({datetime.fromtimestamp(state['at_unix_s'], UTC):%Y-%m-%d %H:%M:%S} UTC)", markup=False
        )
        table = Table("round", "version", "clients", "perplexity", "epsilon", "seconds", "refused because")
        for line in rounds.read_text().splitlines():
            entry = json.loads(line)
            if "round_number" in entry:
                measures, spent = entry.get("measures", {}), entry.get("epsilons", {})
                table.add_row(
                    str(entry["round_number"]),
                    "–" if entry["version"] is None else f"r{entry['version']}",
                    str(entry.get("clients", "–")),
                    f"{measures['perplexity']:.2f}" if "perplexity" in measures else "–",
                    f"{max(spent.values()):.2f}" if spent else "–",
                    f"{sum(entry.get('stage_s', {}).values()):.0f}",
                    " ".join(entry["reasons"]),
                )
        console.print(table)


@app.command()
def budget(institution: Institution) -> None:
    """What training has spent of this institution's privacy budget, over the whole life of its data."""
    from federated_trainer.dp.ledger import Ledger
    from federated_trainer.settings import InstitutionSettings, read_settings

    with _told():
        own = read_settings(institution, InstitutionSettings)
        account = Ledger(own.ledger, own.max_epsilon, own.delta).account()
        console.print(f"{own.name}: epsilon {account.epsilon:.3f} of {account.max_epsilon} at delta {account.delta}", markup=False)
        console.print(f"  by RDP {account.epsilon_by_rdp:.3f}; {account.trainings} trainings", markup=False)
        console.print("  unit: one data subject of this institution; neighbours: add or remove one subject; Poisson sampling")


@app.command()
def models(federation: Federation) -> None:
    """The registry's versions, verified: signatures and chain."""
    from federated_trainer.coordinator import open_registry
    from federated_trainer.served import ServedStore

    with _told():
        settings = _settings(federation)
        served = ServedStore(settings.data_dir / "served.json").read()
        table = Table("version", "round", "clients", "epsilon", "perplexity", "published", "served")
        for manifest in open_registry(settings).verify_chain():
            table.add_row(
                f"r{manifest.version}",
                str(manifest.round_number),
                str(manifest.clients),
                str(manifest.privacy.get("epsilon", "–")),
                str(manifest.measures.get("perplexity", "–")),
                manifest.published_at,
                "now" if manifest.version == served.current else ("way back" if manifest.version == served.previous else ""),
            )
        console.print(table)


@app.command()
def promote(version: Annotated[int, typer.Argument(help="The number of a published version.")], federation: Federation) -> None:
    """Bring a published version into service: load, canary, watch, switch, drain."""
    from federated_trainer.adapter import base_digest
    from federated_trainer.coordinator import open_refresher
    from federated_trainer.errors import BadConfiguration

    with _told():
        settings = _settings(federation)
        refresher = open_refresher(settings, base_digest(settings.base_model), lambda stage, what: console.print(what, markup=False))
        if refresher is None:
            raise BadConfiguration("The federation's [serving] names no vllm_url.")
        refresher.refresh(version)
        console.print(f"r{version} is served.")


@app.command()
def rollback(federation: Federation) -> None:
    """Serve the version before again."""
    from federated_trainer.adapter import base_digest
    from federated_trainer.coordinator import open_refresher
    from federated_trainer.errors import BadConfiguration

    with _told():
        settings = _settings(federation)
        refresher = open_refresher(settings, base_digest(settings.base_model), lambda stage, what: console.print(what, markup=False))
        if refresher is None:
            raise BadConfiguration("The federation's [serving] names no vllm_url.")
        back = refresher.rollback()
        console.print("The base model is served." if back < 0 else f"r{back} is served.")


@app.command()
def demo(
    base_model: Annotated[Path, typer.Option(help="The base model's folder.", exists=True)] = Path(".llmos/models/smollm2"),
    vllm_url: Annotated[
        str, typer.Option(help="A running vLLM with runtime LoRA loading; 'none' leaves serving out.")
    ] = "http://127.0.0.1:8001/v1",
    folder: Annotated[Path, typer.Option(help="Where the demonstration's files go; replaced.")] = Path(".llmos/federate-demo"),
    port: Annotated[int, typer.Option(help="The SuperLink's port; the next three are the SuperNodes'.")] = 9400,
    rounds: Annotated[int, typer.Option(help="Honest rounds.")] = 3,
    base_name: Annotated[str, typer.Option(help="The base model's name at the model server.")] = "smollm2",
    alias: Annotated[str, typer.Option(help="Versions are served as ALIAS@rN.")] = "smollm2",
) -> None:
    """Three institutions train together on this machine: TLS, secure sum, differential privacy, hot swaps, a poisoned round, a rollback."""
    from federated_trainer.demo.show import show

    # A SIGTERM cleans up as Ctrl-C does: the demonstration's processes end with it.
    signal.signal(signal.SIGTERM, _interrupt)
    with _told():
        url = None if vllm_url == "none" else vllm_url
        began = time.monotonic()

        def tell(what: str) -> None:
            console.print(f"[dim]{time.monotonic() - began:6.1f} s[/dim]  ", end="")
            console.print(what, markup=False, highlight=False)

        outcome = show(folder.absolute(), base_model.absolute(), url, alias, base_name, port, rounds, tell)
        _print(outcome)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _print(outcome: Outcome) -> None:
    names = [name for name in outcome.baseline if name.startswith("perplexity")]
    table = Table("", *names, "clients", "seconds", "outcome", title="Rounds")
    table.add_row("before", *(f"{outcome.baseline[name]:.1f}" for name in names), "", "", "")
    for entry in outcome.rounds:
        measures = entry.get("measures", {})
        verdict = f"published as r{entry['version']}" if entry["version"] is not None else "refused"
        cells = [f"{measures[name]:.1f}" if name in measures else "–" for name in names]
        table.add_row(
            f"round {entry['round_number']}",
            *cells,
            str(entry.get("clients", "–")),
            f"{sum(entry.get('stage_s', {}).values()):.0f}",
            verdict,
        )
    console.print(table)
    steps = Table("step", "seconds")
    for step, seconds in outcome.seconds.items():
        steps.add_row(step, f"{seconds:.1f}")
    console.print(steps)
    console.print(f"streamed requests by model: {outcome.streamed}; failed: {len(outcome.failures)}", markup=False)
    console.print(
        f"epsilon by institution (data subject, delta 1e-5): { {n: round(e, 2) for n, e in outcome.epsilons.items()} }", markup=False
    )


def _replace_process(command: list[str], environment: dict[str, str]) -> None:
    """This process becomes the command: Ctrl-C and signals reach it directly."""
    sys.stdout.flush()
    os.execve(command[0], command, environment)  # noqa: S606 - our own command
