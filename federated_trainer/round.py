"""One round, as it runs: sample → train → aggregate → evaluate → publish → refresh.

What varies stands behind four ports: `Clients` (Flower, or a simulation), `Gate`, `Publisher` and `Refresher`. Any failure
before `publish` leaves the registry as it was; any failure before the end of `refresh` leaves the served model as it was.
Not covered here: who may start a round at all (`schedule.py` holds the lock).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from federated_trainer.errors import GateRefused, RefreshFailed, TooFewClients
from federated_trainer.server_optimizer import ServerOptimizer
from federated_trainer.task import RoundTask
from federated_trainer.weights import Vector, check_vector


@dataclass(frozen=True, slots=True)
class RoundUpdate:
    """mean: [length] float64, the (weighted) mean update. clients: how many are in it. epsilons: reported, by client name."""

    mean: npt.NDArray[np.float64] = field(repr=False)
    clients: int
    mean_loss: float | None
    epsilons: Mapping[str, float]
    refusals: Mapping[str, str]  # client name → why it took no part
    next_clip: float | None = None  # of client-level privacy, where clipping adapts
    exchange_s: Mapping[str, float] = field(default_factory=dict)  # seconds of each exchange with the clients, where there is a wire


class Clients(Protocol):
    """The institutions. `train` raises TooFewClients and the errors of `secure_sum`."""

    def sample(self, minimum: int) -> tuple[int, ...]: ...

    def train(self, task: RoundTask, chosen: tuple[int, ...]) -> RoundUpdate: ...


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the gate measured, and the sentences of every check that failed (none: it passes)."""

    measures: Mapping[str, float]
    reasons: tuple[str, ...]


class Gate(Protocol):
    def judge(self, candidate: Vector) -> Judgement: ...


class Publisher(Protocol):
    """Writes an immutable version and returns its number."""

    def publish(self, weights: Vector, update: RoundUpdate, judgement: Judgement, task: RoundTask) -> int: ...


class Refresher(Protocol):
    """Brings a version into service, or raises RefreshFailed and leaves the old one."""

    def refresh(self, version: int) -> None: ...


@dataclass(frozen=True, slots=True)
class RoundReport:
    """A round's outcome: a version, or the reasons why there is none, or why it was published and is not served."""

    round_number: int
    clients: int
    version: int | None
    reasons: tuple[str, ...]
    measures: Mapping[str, float]
    mean_loss: float | None
    epsilons: Mapping[str, float]
    refusals: Mapping[str, str]
    stage_s: Mapping[str, float]
    next_clip: float | None = None
    exchange_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ports:
    clients: Clients
    gate: Gate
    publisher: Publisher
    refresher: Refresher | None
    progress: Callable[[str, str], None]  # (stage, what is going on)


def run_round(task: RoundTask, optimizer: ServerOptimizer, minimum_clients: int, ports: Ports) -> tuple[Vector, RoundReport]:
    """The global weights after the round (unchanged where the gate refused) and its report.

    A refresh that fails leaves a version that is published and not served; the report says why. Raises TooFewClients,
    SecureSumError, BadUpdate, RegistryError; the served model stays in every case.
    """
    clock = _Clock(ports.progress)
    with clock.stage("sample"):
        chosen = ports.clients.sample(minimum_clients)
        if len(chosen) < minimum_clients:
            raise TooFewClients(f"{len(chosen)} clients are there; a round needs {minimum_clients}.")
    with clock.stage("train"):
        update = ports.clients.train(task, chosen)
    with clock.stage("aggregate"):
        check_vector(update.mean, task.weights.size)
        candidate, optimizer_state = optimizer.step(task.weights, update.mean)
    with clock.stage("evaluate"):
        judgement = ports.gate.judge(candidate)

    def report(version: int | None, reasons: tuple[str, ...]) -> RoundReport:
        return RoundReport(
            task.settings.round_number,
            update.clients,
            version,
            reasons,
            judgement.measures,
            update.mean_loss,
            update.epsilons,
            update.refusals,
            clock.seconds,
            update.next_clip,
            update.exchange_s,
        )

    if judgement.reasons:
        ports.progress("refused", str(GateRefused(judgement.reasons)))
        return task.weights, report(None, judgement.reasons)
    with clock.stage("publish"):
        version = ports.publisher.publish(candidate, update, judgement, task)
        optimizer.commit(optimizer_state)
    failed: tuple[str, ...] = ()
    if ports.refresher is not None:
        with clock.stage("refresh"):
            try:
                ports.refresher.refresh(version)
            except RefreshFailed as error:
                failed = (f"It is published and not served. {error}",)
    return candidate, report(version, failed)


class _Clock:
    """Times each stage and tells that it began."""

    def __init__(self, progress: Callable[[str, str], None]) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = progress
        self._name, self._began = "", 0.0

    def stage(self, name: str) -> _Clock:
        self._name = name
        return self

    def __enter__(self) -> None:
        self._progress(self._name, "begins")
        self._began = time.monotonic()

    def __exit__(self, *error: object) -> None:
        self.seconds[self._name] = round(time.monotonic() - self._began, 3)
