"""What was spent of an institution's privacy budget, kept on its disk over the whole life of its data.

One JSON line a training: written, flushed and synced before the first gradient, so that a crash can waste budget and never
hide spending. A training that would bring the total over the limit is refused before it is written.
The unit is the data subject within this institution. Not covered: a person whose data lies with several institutions (the
ε of each add up), and an institution that deletes its own ledger.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from federated_trainer.dp.accounting import GaussianSteps, epsilon_pld, epsilon_rdp
from federated_trainer.errors import BadConfiguration, BudgetSpent


@dataclass(frozen=True, slots=True)
class Account:
    """ε spent by either accountant at `delta`, the limit, and how many trainings it covers."""

    epsilon: float
    epsilon_by_rdp: float
    delta: float
    max_epsilon: float
    trainings: int


class Ledger:
    """The ledger at `path`; `max_epsilon` and `delta` are the institution's own."""

    def __init__(self, path: Path, max_epsilon: float, delta: float) -> None:
        self._path, self._max_epsilon, self._delta = path, max_epsilon, delta

    def account(self) -> Account:
        """What was spent so far. Raises BadConfiguration where a line is damaged."""
        spent = self._read()
        by_rdp = epsilon_rdp(spent, self._delta) if spent else 0.0
        return Account(epsilon_pld(spent, self._delta) if spent else 0.0, by_rdp, self._delta, self._max_epsilon, len(spent))

    def reserve(self, steps: GaussianSteps, label: str) -> float:
        """Write down a training that is about to start; returns the total ε with it. Raises BudgetSpent, BadConfiguration."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            total = epsilon_pld([*self._read(), steps], self._delta)
            if total > self._max_epsilon:
                raise BudgetSpent(
                    f"This training would bring the data subjects' epsilon to {total:.3f}; the institution's limit is "
                    f"{self._max_epsilon} (delta {self._delta}). The round does not start here."
                )
            line = json.dumps({"at_unix_s": int(time.time()), "label": label, **asdict(steps)}) + "\n"
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        return total

    def _read(self) -> list[GaussianSteps]:
        if not self._path.exists():
            return []
        spent = []
        for number, line in enumerate(self._path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                entry = json.loads(line)
                spent.append(GaussianSteps(entry["sampling_rate"], entry["noise_multiplier"], entry["steps"]))
            except (ValueError, KeyError, TypeError) as error:
                raise BadConfiguration(
                    f"Line {number} of the privacy ledger is damaged; restore it, training is refused until then."
                ) from error
        return spent

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Two trainings at once can't both take the last of the budget."""
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
