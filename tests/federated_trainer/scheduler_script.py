"""A scheduler as a process of its own: SOCKET SCHEDULE_FILE LOG HOLD_S ROUND_S SECONDS. A round writes its token into the log."""

import contextlib
import os
import sys
import time
from pathlib import Path

import redis

from federated_trainer.errors import RoundLocked
from federated_trainer.round_lock import RoundLock
from federated_trainer.schedule import ScheduleFile, Scheduler

socket, schedule, log, hold_s, round_s, seconds = sys.argv[1:]


def run_round(token: int) -> None:
    with Path(log).open("a") as file:
        file.write(f"{token} {os.getpid()} began\n")
    time.sleep(float(round_s))
    with Path(log).open("a") as file:
        file.write(f"{token} {os.getpid()} ended\n")


lock = RoundLock(redis.Redis(unix_socket_path=socket), "f", hold_s=float(hold_s))
scheduler = Scheduler(ScheduleFile(Path(schedule)), lock, run_round, renew_every_s=float(hold_s) / 4)
ends = time.monotonic() + float(seconds)
while time.monotonic() < ends:
    with contextlib.suppress(RoundLocked):
        scheduler.tick(time.time())
    time.sleep(0.02)
