"""The coordinator's composition: from a federation's settings to rounds that run one after another.

It keeps no state of its own: the registry's newest version is where the next round starts, `status.json` and
`rounds.jsonl` tell what happened. A coordinator that is killed within a round leaves nothing half published; started
again, it begins that round anew.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from federated_trainer.adapter import AdaptedModel
from federated_trainer.errors import TrainerError
from federated_trainer.evaluate import HeldOutGate, read_held_out
from federated_trainer.publish import Registry
from federated_trainer.refresh import Aliases, GatewayAliases, NoAliases, VllmRefresher, VllmServer
from federated_trainer.roster import public_of, read_private_key
from federated_trainer.round import Clients, Judgement, Ports, RoundReport, RoundUpdate, run_round
from federated_trainer.served import ServedStore, write_atomically
from federated_trainer.server_optimizer import ServerOptimizer
from federated_trainer.settings import FederationSettings
from federated_trainer.task import RoundTask, make_task
from federated_trainer.weights import Vector

_VECTOR_FILE = "trained.safetensors"
Progress = Callable[[str, str], None]


@dataclass(frozen=True)
class RegistryPublisher:
    """`Publisher` of round.py: saves the adapter through the model (and compares it after reading it back)."""

    registry: Registry
    model: AdaptedModel
    settings: FederationSettings
    private_key: bytes

    def publish(self, weights: Vector, update: RoundUpdate, judgement: Judgement, task: RoundTask) -> int:
        def write(folder: Path) -> None:
            self.model.load_vector(weights)
            self.model.save(folder)
            save_file({"trained": torch.from_numpy(weights)}, folder / _VECTOR_FILE)

        facts = {
            "name": self.settings.name,
            "round_number": task.settings.round_number,
            "clients": update.clients,
            "privacy": privacy_facts(self.settings, update),
            "measures": dict(judgement.measures),
            "published_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        manifest = self.registry.publish(write, self.private_key, self.model.base_digest, self.model.layout.digest(), facts)
        return manifest.version


def privacy_facts(settings: FederationSettings, update: RoundUpdate) -> dict[str, float | str]:
    """What the manifest says of privacy: the largest epsilon that an institution reported, over the life of its data."""
    if settings.privacy is None:
        return {"unit": "none"}
    return {
        "unit": "data subject within one institution",
        "neighbours": "add or remove one subject",
        "epsilon": max(update.epsilons.values(), default=float("inf")),
        "noise_multiplier": settings.privacy.noise_multiplier,
        "sampling_rate": settings.privacy.sampling_rate,
        "steps": settings.privacy.steps,
    }


def open_registry(settings: FederationSettings) -> Registry:
    return Registry(settings.registry, public_of(read_private_key(settings.signing_key)))


def open_refresher(settings: FederationSettings, base_digest: str, progress: Progress) -> VllmRefresher | None:
    """None where no model server is named."""
    serving = settings.serving
    if serving.vllm_url is None:
        return None
    aliases: Aliases = NoAliases()
    if serving.gateway_admin_url is not None and serving.gateway_key_file is not None:
        aliases = GatewayAliases(serving.gateway_admin_url, serving.gateway_key_file.read_text().strip())
    served = ServedStore(settings.data_dir / "served.json")
    adapters = settings.data_dir / "adapters"
    return VllmRefresher(VllmServer(serving.vllm_url), aliases, open_registry(settings), served, serving, base_digest, adapters, progress)


def newest_weights(registry: Registry, model: AdaptedModel, folder: Path) -> Vector:
    """The trained vector of the newest version, or the model's start. Raises NotTrusted, RegistryError, BadUpdate."""
    versions = registry.versions()
    if not versions:
        return model.vector()
    path = registry.fetch(versions[-1], model.base_digest, folder)
    vector: Vector = load_file(path / _VECTOR_FILE)["trained"].numpy()
    model.load_vector(vector)
    return vector


def run_rounds(settings: FederationSettings, rounds: int, clients: Clients, progress: Progress) -> list[RoundReport]:
    """Run `rounds` rounds. Raises the first TrainerError that ends a round; earlier rounds stand."""
    torch.set_num_threads(settings.threads)
    status = Status(settings.data_dir, progress)
    status.tell("prepare", "loading the base model")
    model = AdaptedModel(settings.base_model, settings.adapter)
    registry = open_registry(settings)
    weights = newest_weights(registry, model, settings.data_dir / "adapters")
    held_out = read_held_out(settings.held_out, model, settings.local.max_tokens)
    status.tell("prepare", "measuring the served version")
    gate = HeldOutGate(model, held_out, settings.gate, weights)
    status.baseline(gate.served_measures)
    publisher = RegistryPublisher(registry, model, settings, read_private_key(settings.signing_key))
    ports = Ports(clients, gate, publisher, open_refresher(settings, model.base_digest, status.tell), status.tell)
    optimizer = ServerOptimizer(settings.server_optimizer, settings.server_learning_rate)
    reports = []
    first = status.rounds_so_far() + 1
    for number in range(first, first + rounds):
        task = make_task(settings, number, model.base_digest, model.layout.digest(), weights)
        try:
            weights, report = run_round(task, optimizer, settings.minimum_clients, ports)
        except TrainerError as error:
            status.failed(number, error)
            raise
        status.finished(report)
        reports.append(report)
    status.tell("idle", "all rounds are done")
    return reports


class Status:
    """What the coordinator is doing, on disk for `llmos federate status` and the console. No client's values are in it."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self._folder, self._progress = folder, progress
        folder.mkdir(parents=True, exist_ok=True)

    def tell(self, stage: str, what: str) -> None:
        now = {"stage": stage, "what": what, "at_unix_s": round(time.time(), 1), "rounds": self.rounds_so_far()}
        write_atomically(self._folder / "status.json", json.dumps(now) + "\n")
        self._progress(stage, what)

    def rounds_so_far(self) -> int:
        file = self._folder / "rounds.jsonl"
        return sum("round_number" in json.loads(line) for line in file.read_text().splitlines()) if file.exists() else 0

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
