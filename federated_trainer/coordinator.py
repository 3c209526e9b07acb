"""The coordinator's composition: from a federation's settings to rounds that run one after another.

It keeps no state of its own but the moments of server-side Adam: the registry's newest version that was not rolled back is
where the next round starts, `status.json` and `rounds.jsonl` tell what happened (`status.py`). A coordinator that is killed
within a round leaves nothing half published; started again, it begins that round anew.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from federated_trainer.adapter import AdaptedModel
from federated_trainer.dp.client_budget import ClientBudget
from federated_trainer.errors import BadConfiguration, RefreshFailed, TrainerError
from federated_trainer.evaluate import HeldOutGate, read_held_out
from federated_trainer.gateway_admin import GatewayAdmin, NoAliases, RoundsTeller
from federated_trainer.publish import Registry
from federated_trainer.refresh import VllmRefresher, VllmServer
from federated_trainer.roster import public_of, read_private_key
from federated_trainer.round import Clients, Judgement, Ports, RoundReport, RoundUpdate, run_round
from federated_trainer.served import BASE, ServedState, ServedStore
from federated_trainer.server_optimizer import ServerOptimizer
from federated_trainer.settings import FederationSettings
from federated_trainer.status import Progress, Status
from federated_trainer.task import RoundTask, make_task
from federated_trainer.weights import Vector, check_vector

_VECTOR_FILE = "trained.safetensors"
_MOMENTS_FILE = "server_optimizer.safetensors"


@dataclass(frozen=True)
class RegistryPublisher:
    """`Publisher` of round.py: saves the adapter through the model (and compares it after reading it back)."""

    registry: Registry
    model: AdaptedModel
    settings: FederationSettings
    private_key: bytes
    budget: ClientBudget
    fencing_token: int = 0

    def publish(self, weights: Vector, update: RoundUpdate, judgement: Judgement, task: RoundTask) -> int:
        def write(folder: Path) -> None:
            self.model.load_vector(weights)
            self.model.save(folder)
            save_file({"trained": torch.from_numpy(weights)}, folder / _VECTOR_FILE)

        facts = {
            "name": self.settings.name,
            "round_number": task.settings.round_number,
            "clients": update.clients,
            "privacy": privacy_facts(self.settings, update, self.budget.epsilon()),
            "measures": dict(judgement.measures),
            "fencing_token": self.fencing_token,
            "published_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        manifest = self.registry.publish(write, self.private_key, self.model.base_digest, self.model.layout.digest(), facts)
        return manifest.version


def privacy_facts(settings: FederationSettings, update: RoundUpdate, client_epsilon: float | None = None) -> dict[str, float | str]:
    """What the manifest says of privacy: the largest epsilon that an institution reported, over the life of its data."""
    if settings.client_privacy is not None and client_epsilon is not None:
        return {
            "unit": "client",
            "neighbours": "one client's vector replaced by zero",
            "epsilon": client_epsilon,
            "delta": settings.client_privacy.delta,
            "noise_at": settings.client_privacy.noise_at,
        }
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


def open_gateway(settings: FederationSettings) -> GatewayAdmin | None:
    """None where no gateway is named. Raises BadConfiguration where its key can't be read."""
    serving = settings.serving
    if serving.gateway_admin_url is None or serving.gateway_key_file is None:
        return None
    try:
        key = serving.gateway_key_file.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise BadConfiguration(
            "The file of the gateway's key can't be read; `llmos keys create TENANT --role operator` makes one."
        ) from error
    return GatewayAdmin(serving.gateway_admin_url, key)


def open_refresher(settings: FederationSettings, base_digest: str, progress: Progress) -> VllmRefresher | None:
    """None where no model server is named, and for full weights, which need a model server of their own."""
    serving = settings.serving
    if serving.vllm_url is None or settings.adapter.kind == "full":
        return None
    aliases = open_gateway(settings) or NoAliases()
    served = ServedStore(settings.data_dir / "served.json")
    adapters = settings.data_dir / "adapters"
    return VllmRefresher(VllmServer(serving.vllm_url), aliases, open_registry(settings), served, serving, base_digest, adapters, progress)


def weights_of(version: int, registry: Registry, model: AdaptedModel, folder: Path) -> Vector:
    """The trained vector of a version, or the model's start for the base model. Raises NotTrusted, RegistryError, BadUpdate."""
    if version == BASE:
        return model.start.copy()
    path = registry.fetch(version, model.base_digest, folder)
    vector: Vector = load_file(path / _VECTOR_FILE)["trained"].numpy()
    check_vector(vector, model.layout.length)
    return vector


def starting_version(registry: Registry, withdrawn: Collection[int]) -> int:
    """Where the next round begins: the newest version that was not rolled back. Raises RegistryError."""
    return max((version for version in registry.versions() if version not in withdrawn), default=BASE)


def run_rounds(
    settings: FederationSettings, rounds: int, clients: Clients, progress: Progress, fencing_token: int = 0
) -> list[RoundReport]:
    """Run `rounds` rounds; `fencing_token` is that of the lock they run under.

    Raises the first TrainerError that ends a round; earlier rounds stand.
    """
    torch.set_num_threads(settings.threads)
    status = open_status(settings, progress)
    status.tell("prepare", "loading the base model")
    model = AdaptedModel(settings.base_model, settings.adapter)
    registry, adapters = open_registry(settings), settings.data_dir / "adapters"
    refresher = open_refresher(settings, model.base_digest, status.tell)
    state = _served_now(settings, refresher, status)
    start = starting_version(registry, state.withdrawn)
    weights = weights_of(start, registry, model, adapters)
    # Without a model server nothing is served: a candidate is compared with the weights that it starts from.
    served = weights if refresher is None else weights_of(state.current, registry, model, adapters)
    held_out = read_held_out(settings.held_out, model, settings.local.max_tokens)
    status.tell("prepare", "measuring the served version")
    gate = HeldOutGate(model, held_out, settings.gate, served)
    status.baseline(gate.served_measures)
    budget = ClientBudget(settings.data_dir / "client_ledger.jsonl", settings.client_privacy)
    publisher = RegistryPublisher(registry, model, settings, read_private_key(settings.signing_key), budget, fencing_token)
    ports = Ports(clients, gate, publisher, refresher, status.tell)
    optimizer = ServerOptimizer(settings.server_optimizer, settings.server_learning_rate)
    optimizer.resume(settings.data_dir / _MOMENTS_FILE, start, model.layout.length)
    reports = []
    first = status.rounds_so_far() + 1
    for number in range(first, first + rounds):
        try:
            task = make_task(settings, number, model.base_digest, model.layout.digest(), weights, budget.of_this_round())
            if task.settings.client_privacy is not None:
                budget.reserve(task.client_level().zcdp(), f"{settings.name} round {number}")
            weights, report = run_round(task, optimizer, settings.minimum_clients, ports)
        except TrainerError as error:
            status.failed(number, error)
            raise
        if report.version is not None:
            optimizer.save(settings.data_dir / _MOMENTS_FILE, report.version)
        budget.adapt(report.next_clip)
        status.finished(report)
        reports.append(report)
        if report.version is not None and report.reasons:
            raise RefreshFailed(report.reasons[0])
    status.tell("idle", "all rounds are done")
    return reports


def open_status(settings: FederationSettings, progress: Progress) -> Status:
    """The status on disk, told to the gateway too where one is named."""
    return Status(settings.data_dir, progress, RoundsTeller(open_gateway(settings), settings.name, settings.serving.alias).tell)


def _served_now(settings: FederationSettings, refresher: VllmRefresher | None, status: Status) -> ServedState:
    """By the gateway's alias, or where the gateway is away by our own record: a round may still train and publish then."""
    if refresher is not None:
        try:
            return refresher.settle()
        except RefreshFailed as error:
            status.tell("prepare", str(error))
    return ServedStore(settings.data_dir / "served.json").read()
