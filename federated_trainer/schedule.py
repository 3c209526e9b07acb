"""When the next round runs: a cron expression, with pause, run-now, and one catch-up for missed times.

The decisions are pure functions of the clock and the stored state; `Scheduler.tick` acts on them under the round's lock.
Times are UTC. A clock that steps back does not run a time twice (the last due time is stored); one that steps forward runs
once, however many times it passed.
Not covered: how long a round takes. A time that comes while a round runs is missed, and caught up afterwards once.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from croniter import croniter

from federated_trainer.errors import BadConfiguration, BadCron, RoundLocked
from federated_trainer.round_lock import Held, RoundLock
from federated_trainer.served import write_atomically

_LAST_DUE = "last_due_unix_s"
RENEW_EVERY_S = 15.0
RunRound = Callable[[int], None]  # takes the fencing token of the lock


@dataclass(frozen=True, slots=True)
class Schedule:
    """cron: five fields, UTC. set_unix_s: when it was set (no time before that is due). run_now: one round at once."""

    cron: str
    set_unix_s: float
    paused: bool = False
    run_now: bool = False


def check_cron(expression: str) -> str:
    """The expression. Raises BadCron with an example."""
    if len(expression.split()) != 5 or not croniter.is_valid(expression):
        raise BadCron(
            "This is no cron expression of five fields (minute hour day month weekday), such as '0 3 * * 0': Sundays at 03:00 UTC."
        )
    return expression


def last_due(schedule: Schedule, now_unix_s: float) -> float | None:
    """The latest time of the schedule that has come, or None where none has since it was set."""
    clock = datetime.fromtimestamp(now_unix_s, UTC)
    due = float(croniter(schedule.cron, clock, ret_type=float).get_prev())
    # get_prev is strictly before its start: a time that is exactly now counts as come.
    if croniter.match(schedule.cron, clock) and clock.second == 0:
        due = float(int(now_unix_s))
    return due if due >= schedule.set_unix_s else None


def next_due(schedule: Schedule, now_unix_s: float) -> float:
    return float(croniter(schedule.cron, datetime.fromtimestamp(now_unix_s, UTC), ret_type=float).get_next())


def is_due(schedule: Schedule, now_unix_s: float, done_unix_s: float) -> bool:
    """Whether a round should start, given the due time that was run last (0: none)."""
    if schedule.run_now:
        return True
    due = None if schedule.paused else last_due(schedule, now_unix_s)
    return due is not None and due > done_unix_s


class ScheduleFile:
    """The schedule in `path`, as the commands `schedule`, `pause` and `now` write it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Schedule | None:
        """None where none was set. Raises BadConfiguration where it is damaged."""
        if not self._path.exists():
            return None
        try:
            return Schedule(**json.loads(self._path.read_text()))
        except (ValueError, TypeError) as error:
            raise BadConfiguration("The schedule's file is damaged; set it again with `llmos federate schedule`.") from error

    def write(self, schedule: Schedule) -> None:
        check_cron(schedule.cron)
        write_atomically(self._path, json.dumps(asdict(schedule)) + "\n")


class Scheduler:
    """Runs `run_round` when it is due, and never two at once over all schedulers that share the lock's store."""

    def __init__(self, file: ScheduleFile, lock: RoundLock, run_round: RunRound, renew_every_s: float = RENEW_EVERY_S) -> None:
        self._file, self._lock, self._run_round, self._renew_every_s = file, lock, run_round, renew_every_s

    def tick(self, now_unix_s: float) -> bool:
        """Start a round if one is due; returns whether it ran. A failed round counts as run: the next time tries again.

        Raises what `run_round` raises, BadConfiguration, RoundLocked (the lock was lost within the round).
        """
        schedule = self._file.read()
        if schedule is None or not is_due(schedule, now_unix_s, self._done()):
            return False
        try:
            held = self._lock.acquire()
        except RoundLocked:
            return False
        try:
            # Another scheduler may have run it between the look above and the lock.
            schedule = self._file.read() or schedule
            if not is_due(schedule, now_unix_s, self._done()):
                return False
            if schedule.run_now:
                self._file.write(replace(schedule, run_now=False))
            else:
                self._lock.write(held, _LAST_DUE, str(last_due(schedule, now_unix_s)))
            with _Renewal(self._lock, held, self._renew_every_s):
                self._run_round(held.token)
        finally:
            self._lock.release(held)
        return True

    def _done(self) -> float:
        return float(self._lock.read(_LAST_DUE) or 0.0)


def run_locked(lock: RoundLock, run_round: RunRound, renew_every_s: float = RENEW_EVERY_S) -> None:
    """Run a round at once, whatever the schedule says. Raises RoundLocked where one runs already, and what `run_round` raises."""
    held = lock.acquire()
    try:
        with _Renewal(lock, held, renew_every_s):
            run_round(held.token)
    finally:
        lock.release(held)


class _Renewal:
    """Keeps the lock while a round runs; a lost lock is raised when the round ends, and its writes are fenced anyway."""

    def __init__(self, lock: RoundLock, held: Held, every_s: float) -> None:
        self._lock, self._held, self._every_s = lock, held, every_s
        self._ended = threading.Event()
        self._lost: RoundLocked | None = None
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._lost is not None and error is None:
            raise self._lost

    def _renew(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                self._lock.renew(self._held)
            except RoundLocked as error:
                self._lost = error
                return
