"""What a round asks of its clients, as one frozen value that every client checks against its own floors.

Its digest over weights and settings is the `context` of the secure sum: clients that were given different weights or
settings are in different sums, so that a server cannot single one out by handing it a model of its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from pydantic import BaseModel, ConfigDict

from federated_trainer.dp.client_level import ClientLevel
from federated_trainer.errors import BadConfiguration
from federated_trainer.secure_sum.parameters import Parameters
from federated_trainer.settings import (
    AdapterSettings,
    ClientPrivacy,
    FederationSettings,
    InstitutionSettings,
    LocalSettings,
    SecureSumSettings,
    SubjectPrivacy,
)
from federated_trainer.weights import Vector

EXTRA_COORDINATES = 2  # after the update: the client's weight, and weight times loss (zero under differential privacy)


class TaskSettings(BaseModel):
    """The part of the federation's settings that a client acts on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    federation: str
    round_number: int
    base_digest: str
    layout_digest: str
    weight_cap: int
    secure: bool
    adapter: AdapterSettings
    local: LocalSettings
    privacy: SubjectPrivacy | None
    client_privacy: ClientPrivacy | None = None
    secure_sum: SecureSumSettings


@dataclass(frozen=True, slots=True)
class RoundTask:
    """weights: [length] float32, the global trainable weights that the round starts from."""

    settings: TaskSettings
    weights: Vector = field(repr=False)

    def context(self) -> bytes:
        """32 bytes: SHA-256 over the settings and the weights."""
        return hashlib.sha256(
            self.settings.model_dump_json().encode() + b"\0" + np.ascontiguousarray(self.weights, dtype="<f4").tobytes()
        ).digest()

    def check_floors(self, own: InstitutionSettings) -> None:
        """Raises BadConfiguration where the task goes below what the institution demands."""
        if own.require_secure_sum and not self.settings.secure:
            raise BadConfiguration(f"{own.name} sends its update through the secure sum only.")
        if own.require_privacy and self.settings.privacy is None:
            raise BadConfiguration(f"{own.name} trains under differential privacy only; the federation's [privacy] is missing.")

    def client_level(self) -> ClientLevel:
        """The mechanism of a task with client-level privacy. Raises BadConfiguration, HeadRoom."""
        privacy = self.settings.client_privacy
        assert privacy is not None
        fields = privacy.model_dump(exclude={"max_epsilon", "delta"})
        return ClientLevel(length=self.weights.size, **fields)

    def parameters(self, round_id: bytes, clients: tuple[int, ...]) -> Parameters:
        """The secure sum of this task among these clients. Raises BadConfiguration."""
        sums, level = self.settings.secure_sum, self.settings.client_privacy
        length = self.weights.size + (EXTRA_COORDINATES if level is None else 1)
        ring_bits = sums.ring_bits if level is None else level.ring_bits
        neighbours = len(clients) - 1 if sums.neighbours is None else sums.neighbours
        threshold = (neighbours + 1) // 2 + 1 if sums.threshold is None else sums.threshold
        return Parameters(round_id, clients, threshold, neighbours, length, ring_bits, self.context())

    def fewest_survivors(self, own: InstitutionSettings) -> int:
        """How many vectors a sum must hold before this institution helps to open it."""
        level = self.settings.client_privacy
        return own.minimum_clients if level is None else max(own.minimum_clients, level.honest_survivors)


def make_task(
    settings: FederationSettings,
    round_number: int,
    base_digest: str,
    layout_digest: str,
    weights: Vector,
    client_privacy: ClientPrivacy | None = None,
) -> RoundTask:
    """The task of one round; `client_privacy` is the settings' own, with the clip of this round.

    Raises BadConfiguration where a layer that the rounds rely on is missing.
    """
    if settings.adapter.kind == "lora" and settings.privacy is not None:
        raise BadConfiguration(
            "DP-SGD trains ffa_lora: with both factors free, noise in A and B multiplies. Set adapter.kind = 'ffa_lora'."
        )
    return RoundTask(
        TaskSettings(
            federation=settings.name,
            round_number=round_number,
            base_digest=base_digest,
            layout_digest=layout_digest,
            weight_cap=settings.weight_cap,
            secure=settings.aggregation == "secure_sum",
            adapter=settings.adapter,
            local=settings.local,
            privacy=settings.privacy,
            client_privacy=client_privacy or settings.client_privacy,
            secure_sum=settings.secure_sum,
        ),
        weights,
    )
