"""Rounds: run them now, see how they went, and what they cost an institution."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from gateway.commands.federate.options import (
    CA,
    FLOWER_HOME,
    SUPERLINK,
    Ca,
    Federation,
    FlowerHome,
    Institution,
    SuperLink,
    console,
    read_federation,
    told,
)

if TYPE_CHECKING:
    from federated_trainer.round_lock import RoundLock
    from federated_trainer.settings import FederationSettings

STAGES = ("prepare", "sample", "begin", "share", "mask", "confirm", "unmask", "aggregate", "evaluate", "publish", "refresh")


def run(
    federation: Federation,
    rounds: Annotated[int, typer.Option(help="How many rounds; 0: as many as the settings say.")] = 0,
    superlink: SuperLink = SUPERLINK,
    ca: Ca = CA,
    flower_home: FlowerHome = FLOWER_HOME,
) -> None:
    """Run rounds now, under the federation's lock, and show their progress. Ctrl-C stops them."""
    with told():
        from federated_trainer.schedule import run_locked

        settings = read_federation(federation)
        run_locked(round_lock(settings), lambda token: run_rounds(federation, rounds, superlink, ca, flower_home, token))


def run_rounds(federation: Path, rounds: int, superlink: str, ca: Path, flower_home: Path, token: int) -> None:
    """One Flower run, with its progress; its log goes to `flower_home`/run.log. Raises TrainerError where a round failed."""
    from federated_trainer.flower_run import run_to_end
    from federated_trainer.network import flower_environment, run_command, write_connection
    from federated_trainer.status import Status

    settings = read_federation(federation)
    wanted = rounds or settings.rounds
    status = Status(settings.data_dir, lambda stage, what: None)
    before = status.rounds_so_far()
    write_connection(flower_home, superlink, ca.absolute())
    command = run_command(federation.absolute(), rounds, token=token)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[what]}", markup=False))
    with Progress(*columns, console=console) as bars:
        task = bars.add_task(f"round {before + 1}", total=wanted * len(STAGES), what="starting")

        def watch() -> None:
            done = status.rounds_so_far() - before
            stage, what = _stage(settings.data_dir / "status.json")
            at = done * len(STAGES) + (STAGES.index(stage) if stage in STAGES and done < wanted else 0)
            bars.update(task, completed=at, description=f"round {before + min(done + 1, wanted)}", what=f"{stage}: {what}")

        run_to_end(command, flower_environment(flower_home, os.environ), flower_home / "run.log", None, watch)
    for line in status.rounds()[before:]:
        verdict = "refused" if line["version"] is None else f"published as r{line['version']}"
        console.print(f"round {line['round_number']}: {verdict}. {' '.join(line['reasons'])}", markup=False, highlight=False)
    console.print("llmos federate status tells more.", style="dim")


def _stage(file: Path) -> tuple[str, str]:
    """The stage and its words; within training, the stage of the secure sum."""
    if not file.exists():
        return "starting", ""
    now = json.loads(file.read_text())
    inner = now["what"].partition(":")[0]
    return (inner if inner in STAGES else now["stage"]), now["what"]


def round_lock(settings: FederationSettings) -> RoundLock:
    """The lock in the gateway's store: the server that LLMOS_REDIS_URL names, or the embedded Valkey of a gateway that runs here."""
    import redis

    from federated_trainer.errors import BadConfiguration
    from federated_trainer.round_lock import RoundLock
    from gateway.serving.store import store_address
    from gateway.settings import Settings

    address = store_address(Settings.from_process())
    client = redis.Redis.from_url(address.url, **address.tls())
    try:
        client.ping()
    except redis.RedisError as error:
        raise BadConfiguration(
            "The store that holds the federation's lock does not answer. Start the gateway (`llmos up`) or set LLMOS_REDIS_URL."
        ) from error
    return RoundLock(client, settings.name)


def status(federation: Federation) -> None:
    """What the coordinator is doing, and how each round went."""
    from federated_trainer.status import Status

    with told():
        settings = read_federation(federation)
        file = settings.data_dir / "status.json"
        if not file.exists():
            console.print("No round has run yet.")
            raise typer.Exit
        now = json.loads(file.read_text())
        when = datetime.fromtimestamp(now["at_unix_s"], UTC)
        age_s = time.time() - now["at_unix_s"]
        console.print(f"{now['stage']}: {now['what']}  ({when:%Y-%m-%d %H:%M:%S} UTC, {age_s:.0f} s ago)", markup=False)
        table = Table("round", "version", "clients", "perplexity", "epsilon", "seconds", "refused because")
        for entry in Status(settings.data_dir, lambda stage, what: None).rounds():
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


def budget(institution: Institution) -> None:
    """What training has spent of this institution's privacy budget, over the whole life of its data."""
    from federated_trainer.dp.ledger import Ledger
    from federated_trainer.settings import InstitutionSettings, read_settings

    with told():
        own = read_settings(institution, InstitutionSettings)
        account = Ledger(own.ledger, own.max_epsilon, own.delta).account()
        console.print(f"{own.name}: epsilon {account.epsilon:.3f} of {account.max_epsilon} at delta {account.delta}", markup=False)
        console.print(f"  by RDP {account.epsilon_by_rdp:.3f}; {account.trainings} trainings", markup=False)
        console.print("  unit: one data subject of this institution; neighbours: add or remove one subject; Poisson sampling")
