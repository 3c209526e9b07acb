"""The demonstration from start to end: three rounds, hot swaps under a streaming client, a poisoned round, a rollback.

Real Flower processes with TLS and authenticated nodes; the secure sum and differential privacy are on. Nothing here is
simulated: what is printed was read from the coordinator's status, the registry, and the model server's answers.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from federated_trainer.adapter import base_digest
from federated_trainer.coordinator import open_refresher
from federated_trainer.demo.streaming import StreamingClient, ask
from federated_trainer.demo.workspace import make_workspace
from federated_trainer.dp.ledger import Ledger
from federated_trainer.errors import TrainerError
from federated_trainer.network import LocalNetwork
from federated_trainer.served import ServedStore
from federated_trainer.settings import FederationSettings, InstitutionSettings, read_settings

POISONED_APP = Path(__file__).parent / "poisoned_app"
_ROUNDS_TIMEOUT_S = 1800.0
Tell = Callable[[str], None]


@dataclass
class Outcome:
    """What happened: rounds as the coordinator wrote them, answers by model name, seconds by step, the stream's tally."""

    rounds: list[dict[str, Any]] = field(default_factory=list)
    baseline: dict[str, float] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    streamed: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    epsilons: dict[str, float] = field(default_factory=dict)
    rolled_back_to: str | None = None


def show(folder: Path, base_model: Path, vllm_url: str | None, alias: str, base_name: str, port: int, rounds: int, tell: Tell) -> Outcome:
    """Run the demonstration in `folder` (replaced). `vllm_url` None leaves serving out. Raises TrainerError."""
    outcome = Outcome()
    workspace = make_workspace(folder, base_model, vllm_url, alias, base_name)
    settings = read_settings(workspace.federation, FederationSettings)
    served = ServedStore(settings.data_dir / "served.json")
    refresher = open_refresher(settings, base_digest(base_model), lambda stage, what: tell(f"{stage}: {what}"))
    example = json.loads((folder / "data" / "held_out.jsonl").read_text().splitlines()[0])["messages"][:-1]
    question = [dict(message) for message in example]
    tell(f"question: {question[-1]['content']}")

    def current() -> str:
        version = served.read().current
        return base_name if version < 0 else f"{alias}@r{version}"

    def answer() -> None:
        if vllm_url is not None:
            outcome.answers[current()] = ask(vllm_url, current(), question)
            tell(f"{current()} answers: {outcome.answers[current()]!r}")

    with ExitStack() as stack:
        answer()
        stream = stack.enter_context(StreamingClient(vllm_url, current)) if vllm_url is not None else None
        with _timed(outcome, "start SuperLink, register and start 3 SuperNodes"):
            network = stack.enter_context(LocalNetwork(folder / "network", port, workspace.institutions, dict(os.environ)))
        stack.enter_context(_StatusTail(settings.data_dir / "status.json", tell))
        with _timed(outcome, f"{rounds} rounds"):
            if network.run(workspace.federation, rounds, _ROUNDS_TIMEOUT_S) != 0:
                raise TrainerError(f"Flower's run failed; see {folder / 'network' / 'run.log'}.")
        answer()
        before = served.read()
        with _timed(outcome, "a poisoned round"):
            network.run(workspace.federation, 1, _ROUNDS_TIMEOUT_S, POISONED_APP)
        if served.read() != before:
            raise TrainerError("The poisoned round changed what is served.")
        if refresher is not None and served.read().previous is not None:
            with _timed(outcome, "rollback"):
                refresher.rollback()
            outcome.rolled_back_to = current()
            answer()
        if stream is not None:
            time.sleep(2.0)
            outcome.streamed, outcome.failures = dict(stream.tally.by_model), list(stream.tally.failures)
    lines = [json.loads(line) for line in (settings.data_dir / "rounds.jsonl").read_text().splitlines()]
    outcome.baseline = next(line["baseline"] for line in lines if "baseline" in line)
    outcome.rounds = [line for line in lines if "round_number" in line]
    for name, path in workspace.institutions.items():
        own = read_settings(path, InstitutionSettings)
        outcome.epsilons[name] = Ledger(own.ledger, own.max_epsilon, own.delta).account().epsilon
    return outcome


class _timed:  # noqa: N801 - reads as a statement
    def __init__(self, outcome: Outcome, step: str) -> None:
        self._outcome, self._step = outcome, step

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *error: object) -> None:
        self._outcome.seconds[self._step] = round(time.monotonic() - self._began, 1)


class _StatusTail:
    """Tells each change of the coordinator's status."""

    def __init__(self, path: Path, tell: Tell) -> None:
        self._path, self._tell = path, tell
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        last = ""
        while not self._ended.wait(0.5):
            if self._path.exists():
                now = json.loads(self._path.read_text())
                line = f"round {now['rounds'] + 1} · {now['stage']}: {now['what']}"
                if line != last:
                    self._tell(line)
                last = line
