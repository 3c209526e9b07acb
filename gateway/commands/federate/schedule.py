"""When rounds run: set, show, pause; and the process that runs them and keeps the served version loaded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands.federate.options import (
    CA,
    FLOWER_HOME,
    SUPERLINK,
    Ca,
    Federation,
    FlowerHome,
    SuperLink,
    console,
    read_federation,
    told,
)
from gateway.commands.federate.rounds import round_lock, run_rounds

if TYPE_CHECKING:
    from federated_trainer.settings import FederationSettings

LOOK_EVERY_S = 5.0


def schedule(
    cron: Annotated[str | None, typer.Argument(help="Five fields, UTC: '0 3 * * 0' is Sundays at 03:00. Without it: show.")] = None,
    federation: Federation = Path("federation.toml"),
    pause: Annotated[bool, typer.Option("--pause", help="Keep the schedule, start no round.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="End a pause.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Let the scheduler run one round at once.")] = False,
) -> None:
    """Set, show, pause or resume when rounds run; `llmos federate scheduler` acts on it."""
    from federated_trainer.schedule import Schedule, ScheduleFile, check_cron, next_due

    with told():
        file = ScheduleFile(read_federation(federation).data_dir / "schedule.json")
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


def scheduler(
    federation: Federation,
    superlink: SuperLink = SUPERLINK,
    ca: Ca = CA,
    flower_home: FlowerHome = FLOWER_HOME,
    once: Annotated[bool, typer.Option("--once", help="Look once, run what is due, end (for a CronJob).")] = False,
) -> None:
    """Run rounds when they are due, and load the served version again after a restart of the model server, until Ctrl-C.

    Any number may run: a lock in the store lets one act.
    """
    from federated_trainer.errors import TrainerError
    from federated_trainer.schedule import ScheduleFile, Scheduler

    def tell(error: Exception) -> None:
        console.print(f"{type(error).__name__}: {error}", style="red", markup=False, soft_wrap=True)

    with told():
        settings = read_federation(federation)
        file = ScheduleFile(settings.data_dir / "schedule.json")
        acting = Scheduler(file, round_lock(settings), lambda token: run_rounds(federation, 0, superlink, ca, flower_home, token))
        if once:
            acting.tick(time.time())
            return
        with Keeper(settings, tell):
            while True:
                try:
                    acting.tick(time.time())
                except TrainerError as error:
                    tell(error)
                time.sleep(LOOK_EVERY_S)


class Keeper:
    """Beside the rounds, all the time: what is served stays loaded at the model server. A fault is told once, until it is over."""

    def __init__(self, settings: FederationSettings, tell: Callable[[Exception], None], look_every_s: float = LOOK_EVERY_S) -> None:
        self._settings, self._tell, self._look_every_s = settings, tell, look_every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join(timeout=self._look_every_s)

    def _run(self) -> None:
        from federated_trainer.adapter import base_digest
        from federated_trainer.coordinator import open_refresher
        from federated_trainer.errors import TrainerError

        refresher, last = None, ""
        while not self._ended.wait(self._look_every_s):
            try:
                refresher = refresher or open_refresher(self._settings, base_digest(self._settings.base_model), lambda stage, what: None)
                if refresher is None:
                    return
                for name in refresher.keep_served():
                    console.print(f"{name} was loaded again; the model server had lost it.", markup=False)
                last = ""
            except TrainerError as error:
                if str(error) != last:
                    self._tell(error)
                last = str(error)
