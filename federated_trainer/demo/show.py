"""The demonstration from start to end: three rounds, hot swaps under a streaming client, a poisoned round, a rollback.

Real Flower processes with TLS and authenticated nodes; the secure sum and differential privacy are on. Nothing here is
simulated: what is printed was read from the coordinator's status, the registry, the gateway, and the model's answers.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from federated_trainer.adapter import base_digest
from federated_trainer.coordinator import open_gateway, open_refresher
from federated_trainer.demo.streaming import StreamingClient, ask
from federated_trainer.demo.workspace import Serving, Workspace, make_workspace
from federated_trainer.dp.ledger import Ledger
from federated_trainer.errors import TrainerError
from federated_trainer.flower_run import run_to_end
from federated_trainer.gateway_admin import AliasState, Traffic
from federated_trainer.network import APP_FOLDER, LocalNetwork, run_command
from federated_trainer.refresh import VllmRefresher
from federated_trainer.served import ServedStore
from federated_trainer.settings import FederationSettings, InstitutionSettings, read_settings
from federated_trainer.status import Status

POISONED_APP = Path(__file__).parent / "poisoned_app"
_RUN_TIMEOUT_S = 1800.0
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Caller:
    """How a caller reaches the model: an OpenAI base URL, a key, and the one model name that it always uses (None: the version's)."""

    base_url: str
    api_key: str = field(repr=False)
    model: str | None


@dataclass
class Outcome:
    """What happened: rounds as the coordinator wrote them, (served model, answer) in turn, seconds by step, the stream's tally."""

    question: str = ""
    rounds: list[dict[str, Any]] = field(default_factory=list)
    baseline: dict[str, float] = field(default_factory=dict)
    answers: list[tuple[str, str]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    streamed: int = 0
    failures: list[str] = field(default_factory=list)
    traffic: dict[str, Traffic] = field(default_factory=dict)  # as the gateway counted it
    epsilons: dict[str, float] = field(default_factory=dict)
    rolled_back_to: str | None = None


def show(folder: Path, base_model: Path, serving: Serving | None, caller: Caller | None, port: int, rounds: int, tell: Tell) -> Outcome:
    """Run the demonstration in `folder`. Without `serving` nothing is served. Raises TrainerError."""
    outcome = Outcome()
    with _timed(outcome, "write keys, data and settings"):
        workspace = make_workspace(folder, base_model, serving)
    settings = read_settings(workspace.federation, FederationSettings)
    served = ServedStore(settings.data_dir / "served.json")
    refresher = open_refresher(settings, base_digest(base_model), lambda stage, what: tell(f"{stage}: {what}"))
    gateway = open_gateway(settings)
    question = _question(folder)
    outcome.question = question[-1]["content"]
    tell(f"question: {outcome.question}")

    def current() -> str:
        version = served.read().current
        assert serving is not None
        return serving.base_name if version < 0 else f"{serving.alias}@r{version}"

    def answer() -> None:
        if caller is not None:
            outcome.answers.append((current(), ask(caller.base_url, caller.api_key, caller.model or current(), question)))
            tell(f"{current()} answers: {outcome.answers[-1][1]!r}")

    with ExitStack() as stack:
        began_unix_s = time.time()
        if refresher is not None:
            stack.callback(_unload, refresher)
            _unload(refresher)  # what a demonstration that was killed left behind
        if gateway is not None and serving is not None:
            gateway.put(serving.alias, AliasState(serving.base_name))
        answer()
        stream = None
        if caller is not None:
            stream = stack.enter_context(StreamingClient(caller.base_url, caller.api_key, lambda: caller.model or current()))
        with _timed(outcome, "start SuperLink, register and start 3 SuperNodes"):
            network = stack.enter_context(LocalNetwork(folder / "network", port, workspace.institutions, dict(os.environ)))
        stack.enter_context(_StatusTail(settings.data_dir / "status.json", tell))
        with _timed(outcome, f"{rounds} rounds"):
            _run(network, workspace, rounds, APP_FOLDER)
        answer()
        before = served.read()
        with _timed(outcome, "a poisoned round"):
            _run(network, workspace, 1, POISONED_APP)
        if served.read() != before:
            raise TrainerError("The poisoned round changed what is served.")
        if refresher is not None and before.previous is not None:
            with _timed(outcome, "rollback"):
                refresher.rollback()
            outcome.rolled_back_to = current()
            answer()
        if stream is not None:
            time.sleep(2.0)
            outcome.streamed, outcome.failures = stream.tally.requests, list(stream.tally.failures)
        if gateway is not None and serving is not None:
            outcome.traffic = dict(gateway.traffic(serving.alias, began_unix_s))
    outcome.rounds = Status(settings.data_dir, lambda stage, what: None).rounds()
    outcome.baseline = _baseline(settings.data_dir / "rounds.jsonl")
    for name, path in workspace.institutions.items():
        own = read_settings(path, InstitutionSettings)
        outcome.epsilons[name] = Ledger(own.ledger, own.max_epsilon, own.delta).account().epsilon
    (folder / "outcome.json").write_text(json.dumps(_plain(outcome), indent=1) + "\n", encoding="utf-8")
    return outcome


def _run(network: LocalNetwork, workspace: Workspace, rounds: int, app: Path) -> None:
    command = run_command(workspace.federation, rounds, app)
    run_to_end(command, network.environment, workspace.folder / "network" / "run.log", _RUN_TIMEOUT_S)


def _question(folder: Path) -> list[dict[str, str]]:
    """The first held-out line without its answer."""
    first = json.loads((folder / "data" / "held_out.jsonl").read_text().splitlines()[0])
    return [dict(message) for message in first["messages"][:-1]]


def _baseline(file: Path) -> dict[str, float]:
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return dict(next(line["baseline"] for line in lines if "baseline" in line))


def _unload(refresher: VllmRefresher) -> None:
    """Take the demonstration's own versions off the model server."""
    for name, root in refresher.server.models().items():
        if root.startswith(str(refresher.adapters)):
            refresher.server.unload(name)


def _plain(outcome: Outcome) -> dict[str, Any]:
    traffic = {name: {"requests": t.requests, "failed": t.failed, "median_s": t.median_s} for name, t in outcome.traffic.items()}
    return {**vars(outcome), "traffic": traffic}


@contextmanager
def _timed(outcome: Outcome, step: str) -> Iterator[None]:
    began = time.monotonic()
    try:
        yield
    finally:
        outcome.seconds[step] = round(time.monotonic() - began, 1)


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
