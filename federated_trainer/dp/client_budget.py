"""What client-level privacy has spent over all rounds of a federation, and the clip that the next round uses; on the coordinator's disk.

One JSON line a round, written before it starts: ρ of zero-concentrated differential privacy, which adds up. A round that
would bring ε over the limit does not start. Not covered: two federations that train on the same clients.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

from federated_trainer.dp.accounting import epsilon_of_zcdp
from federated_trainer.errors import BadConfiguration, BudgetSpent
from federated_trainer.settings import ClientPrivacy


class ClientBudget:
    """The ledger at `path`; without client-level privacy nothing is read or written."""

    def __init__(self, path: Path, privacy: ClientPrivacy | None) -> None:
        self._path, self._privacy = path, privacy

    def epsilon(self) -> float | None:
        """Spent so far at the federation's delta; None without client-level privacy. Raises BadConfiguration (a damaged ledger)."""
        return None if self._privacy is None else epsilon_of_zcdp(math.fsum(self._numbers("rho")), self._privacy.delta)

    def reserve(self, rho: float, label: str) -> float:
        """Write down a round that is about to start; returns the total ε with it. Raises BudgetSpent, BadConfiguration."""
        assert self._privacy is not None
        total = epsilon_of_zcdp(math.fsum([*self._numbers("rho"), rho]), self._privacy.delta)
        if total > self._privacy.max_epsilon:
            raise BudgetSpent(
                f"This round would bring the clients' epsilon to {total:.3f}; the federation's limit is {self._privacy.max_epsilon} "
                f"(delta {self._privacy.delta}). The round does not start."
            )
        self._append({"rho": rho, "label": label})
        return total

    def of_this_round(self) -> ClientPrivacy | None:
        """The settings with the clip that the rounds so far have adapted."""
        clips = self._numbers("clip_norm") if self._privacy is not None else []
        return self._privacy.model_copy(update={"clip_norm": clips[-1]}) if self._privacy is not None and clips else self._privacy

    def adapt(self, next_clip: float | None) -> None:
        """Keep the clip of the next round (a post-processing of the noised sum), where clipping adapts."""
        if next_clip is not None and self._privacy is not None and self._privacy.bit_noise:
            self._append({"clip_norm": next_clip})

    def _numbers(self, name: str) -> list[float]:
        if not self._path.exists():
            return []
        try:
            lines = [json.loads(line) for line in self._path.read_text(encoding="utf-8").splitlines()]
            return [float(line[name]) for line in lines if name in line]
        except (ValueError, TypeError) as error:
            raise BadConfiguration("The ledger of client-level privacy is damaged; restore it, no round starts until then.") from error

    def _append(self, line: dict[str, float | str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
