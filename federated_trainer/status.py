"""What a coordinator is doing and how its rounds went: on disk, and told to the gateway for its console.

`status.json` is replaced at each step, `rounds.jsonl` grows by a line a round. Neither holds a client's values: stages,
counts, the gate's measures, epsilons, and why somebody took no part.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from federated_trainer.errors import TrainerError
from federated_trainer.round import RoundReport
from federated_trainer.served import write_atomically

Progress = Callable[[str, str], None]
_TOLD_ROUNDS = 50


class Status:
    """What the coordinator is doing, on disk for `llmos federate status` and the console. No client's values are in it."""

    def __init__(self, folder: Path, progress: Progress, tell_gateway: Callable[[Mapping[str, Any]], None] = lambda state: None) -> None:
        self._folder, self._progress, self._tell_gateway = folder, progress, tell_gateway
        folder.mkdir(parents=True, exist_ok=True)

    def tell(self, stage: str, what: str) -> None:
        now = {"stage": stage, "what": what, "at_unix_s": round(time.time(), 1), "rounds": self.rounds_so_far()}
        write_atomically(self._folder / "status.json", json.dumps(now) + "\n")
        self._progress(stage, what)
        self._tell_gateway({"stage": stage[:40], "what": what[:500], "at_unix_s": now["at_unix_s"], "rounds": self._for_gateway()})

    def rounds(self) -> list[dict[str, Any]]:
        """Every round that ended, oldest first."""
        file = self._folder / "rounds.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [line for line in lines if "round_number" in line]

    def rounds_so_far(self) -> int:
        return len(self.rounds())

    def _for_gateway(self) -> list[dict[str, Any]]:
        """The newest rounds as the admin API takes them."""
        return [
            {
                "round_number": line["round_number"],
                "version": line["version"],
                "clients": line.get("clients", 0),
                "mean_loss": _finite(line.get("mean_loss")),
                "perplexity": _finite(line.get("measures", {}).get("perplexity")),
                "epsilon": _finite(max(line.get("epsilons", {}).values(), default=None)),
                "seconds": round(sum(line.get("stage_s", {}).values()), 1),
                "reasons": [reason[:500] for reason in line["reasons"][:20]],
            }
            for line in self.rounds()[-_TOLD_ROUNDS:]
        ]

    def baseline(self, measures: object) -> None:
        self._append({"baseline": dict(measures) if isinstance(measures, dict) else {}})

    def finished(self, report: RoundReport) -> None:
        self._append(asdict(report))

    def failed(self, number: int, error: TrainerError) -> None:
        self._append({"round_number": number, "version": None, "reasons": [f"{type(error).__name__}: {error}"]})
        self.tell("failed", f"round {number}: {type(error).__name__}: {error}")

    def _append(self, line: dict[str, object]) -> None:
        with (self._folder / "rounds.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _finite(value: object) -> float | None:
    """JSON has no infinity."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
