"""Real processes throughout: what matters is which of them still run afterwards."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from gateway.serving import supervisor as sut
from gateway.serving.supervisor import Child, ChildFailedError, State, Supervisor

# touches its file, then waits; a second argument makes a grandchild that ignores SIGTERM
SERVICE = """
import pathlib, signal, subprocess, sys, time
if len(sys.argv) > 2:
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    pathlib.Path(sys.argv[2]).write_text(str(subprocess.Popen([sys.executable, "-c", ignore]).pid))
print("service starts", flush=True)
pathlib.Path(sys.argv[1]).touch()
time.sleep(60)
"""

STUBBORN = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
time.sleep(60)
"""
SHORT = """
import pathlib, sys, time
pathlib.Path(sys.argv[1]).touch()
open(sys.argv[2], "a").write(f"{time.time()}\\n")
time.sleep(0.3)
"""


def service(name, directory, *more, **options):
    ready = directory / f"{name}.ready"
    return Child(name, [sys.executable, "-c", SERVICE, str(ready), *more], ready.exists, **options)


def is_alive(pid):
    with contextlib.suppress(OSError):
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z"
    return False


async def eventually(condition, timeout_s=15.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        await asyncio.sleep(0.02)


async def test_children_start_in_order_and_end_in_reverse(tmp_path):
    seen = []
    children = [service("first", tmp_path), service("second", tmp_path, after=["first"])]
    supervisor = Supervisor(children, tmp_path / "logs", lambda status: seen.append((status.name, status.state)))
    await supervisor.start()
    pids = [status.pid for status in supervisor.statuses]
    assert all(is_alive(pid) for pid in pids)
    await supervisor.stop()
    assert not any(is_alive(pid) for pid in pids)
    assert seen == [
        ("first", State.STARTING),
        ("first", State.READY),
        ("second", State.STARTING),
        ("second", State.READY),
        ("second", State.STOPPED),
        ("first", State.STOPPED),
    ]
    assert (tmp_path / "logs" / "first.log").read_text() == "service starts\n"
    assert (tmp_path / "logs" / "first.log").stat().st_mode & 0o777 == 0o600


async def test_a_child_that_ends_by_itself_is_started_again(tmp_path):
    supervisor = Supervisor([service("one", tmp_path)], tmp_path / "logs")
    try:
        await supervisor.start()
        [status] = supervisor.statuses
        first = status.pid
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: status.state is State.READY and status.pid not in (None, first))
        assert status.restarts == 1
    finally:
        await supervisor.stop()


async def test_delays_between_restarts_grow(tmp_path):
    started, ready = tmp_path / "started", tmp_path / "ready"
    child = Child("one", [sys.executable, "-c", SHORT, str(ready), str(started)], ready.exists)
    supervisor = Supervisor([child], tmp_path / "logs")
    try:
        await supervisor.start()
        await eventually(lambda: len(started.read_text().split()) >= 3)
        times = [float(each) for each in started.read_text().split()[:3]]
    finally:
        await supervisor.stop()
    assert times[1] - times[0] >= sut.FIRST_DELAY_S
    assert times[2] - times[1] >= 2 * sut.FIRST_DELAY_S


async def test_a_child_that_never_becomes_ready_fails_the_start_with_its_log(tmp_path):
    broken = Child("broken", [sys.executable, "-c", "raise SystemExit('no such model')"], lambda: False)
    healthy = service("healthy", tmp_path)
    supervisor = Supervisor([healthy, broken], tmp_path / "logs")
    with pytest.raises(ChildFailedError, match="no such model"):
        await supervisor.start()
    pid = supervisor.statuses[0].pid
    await supervisor.stop()
    assert pid is None or not is_alive(pid)


async def test_a_start_that_takes_too_long_fails(tmp_path):
    slow = Child("slow", [sys.executable, "-c", "import time; time.sleep(60)"], lambda: False, start_timeout_s=0.3)
    supervisor = Supervisor([slow], tmp_path / "logs")
    with pytest.raises(ChildFailedError, match="slow did not start"):
        await supervisor.start()
    await supervisor.stop()


async def test_a_failing_health_check_shows(tmp_path):
    ready = tmp_path / "one.ready"
    supervisor = Supervisor([service("one", tmp_path)], tmp_path / "logs")
    try:
        await supervisor.start()
        [status] = supervisor.statuses
        ready.unlink()
        await eventually(lambda: status.state is State.UNWELL)
        ready.touch()
        await eventually(lambda: status.state is State.READY)
        assert status.restarts == 0
    finally:
        await supervisor.stop()


async def test_no_grandchild_is_left_even_one_that_ignores_sigterm(tmp_path):
    pid_file = tmp_path / "grandchild"
    supervisor = Supervisor([service("one", tmp_path, str(pid_file))], tmp_path / "logs")
    await supervisor.start()
    grandchild = int(pid_file.read_text())
    assert is_alive(grandchild)
    await supervisor.stop()
    await eventually(lambda: not is_alive(grandchild))


async def test_a_child_that_ignores_sigterm_is_killed_after_its_time(tmp_path):
    ready = tmp_path / "ready"
    child = Child("stubborn", [sys.executable, "-c", STUBBORN, str(ready)], ready.exists, stop_timeout_s=0.5)
    supervisor = Supervisor([child], tmp_path / "logs")
    await supervisor.start()
    pid = supervisor.statuses[0].pid
    started_s = time.monotonic()
    await supervisor.stop()
    assert not is_alive(pid)
    assert time.monotonic() - started_s < 5


async def test_cancelling_the_stop_kills_at_once(tmp_path):
    ready = tmp_path / "ready"
    child = Child("stubborn", [sys.executable, "-c", STUBBORN, str(ready)], ready.exists, stop_timeout_s=60)
    supervisor = Supervisor([child], tmp_path / "logs")
    await supervisor.start()
    pid = supervisor.statuses[0].pid
    stopping = asyncio.create_task(supervisor.stop())
    await asyncio.sleep(0.3)
    assert is_alive(pid)
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    await eventually(lambda: not is_alive(pid))


@pytest.mark.skipif(sys.platform != "linux", reason="the tether is the kernel's, on Linux")
def test_children_die_with_a_supervisor_that_is_killed(tmp_path):
    script = """
import asyncio, sys, pathlib
from gateway.serving.supervisor import Child, Supervisor
ready = pathlib.Path(sys.argv[1]) / "ready"
async def main():
    code = "import pathlib, time; pathlib.Path(%r).touch(); time.sleep(60)" % str(ready)
    supervisor = Supervisor([Child("one", [sys.executable, "-c", code], ready.exists)], ready.parent / "logs")
    await supervisor.start()
    print(supervisor.statuses[0].pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.kill()
    deadline = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
