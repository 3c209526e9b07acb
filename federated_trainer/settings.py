"""What a federation and each of its institutions agreed on, as frozen values read from two TOML files.

`federation.toml` is the coordinator's; `institution.toml` never leaves its institution and sets the floors below which its
client refuses to take part, whatever the coordinator asks. Nothing here reads the environment.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from federated_trainer.errors import BadConfiguration

FEWEST_CLIENTS = 100  # of client-level privacy
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Settings = TypeVar("Settings", bound="_Frozen")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AdapterSettings(_Frozen):
    """What is trained. `ffa_lora` freezes A and trains B (Sun et al. 2024): the mean of the products is then the product of the means."""

    kind: Literal["ffa_lora", "lora", "full"] = "ffa_lora"
    rank: int = Field(default=8, ge=1, le=256)
    alpha: int = Field(default=16, ge=1)
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    last_layers: int | None = Field(default=None, ge=1)  # None: every layer


class LocalSettings(_Frozen):
    """How a client trains. `batch_rows` None is the full batch (B = ∞ of McMahan et al. 2017); `proximal_mu` > 0 is FedProx."""

    epochs: int = Field(default=1, ge=1)
    batch_rows: int | None = Field(default=8, ge=1)
    learning_rate: PositiveFloat = 0.05
    optimizer: Literal["sgd", "adam"] = "sgd"
    proximal_mu: float = Field(default=0.0, ge=0)
    max_tokens: int = Field(default=128, ge=8)


class SubjectPrivacy(_Frozen):
    """DP-SGD inside each client; the unit is the data subject, neighbours differ by adding or removing one subject.

    The sampling rate and the expected batch are public constants, not functions of the data.
    """

    noise_multiplier: PositiveFloat
    clip_norm: PositiveFloat = 1.0
    sampling_rate: float = Field(gt=0, le=1)
    expected_batch: PositiveFloat
    steps: int = Field(ge=1)
    examples_per_subject: int = Field(default=4, ge=1)


class ClientPrivacy(_Frozen):
    """Client-level privacy (`dp/client_level.py`), for federations of many clients. Neighbours: one client's vector replaced by zero.

    `clients` is the public denominator, `honest_survivors` the fewest that a sum may hold; `bit_noise` > 0 adapts the clip.
    """

    clients: int = Field(ge=1)
    honest_survivors: int = Field(ge=1)
    noise_multiplier: PositiveFloat
    clip_norm: PositiveFloat = 1.0
    fraction_bits: int = Field(default=16, ge=1, le=40)
    ring_bits: Literal[32, 64] = 64
    bit_noise: float = Field(default=0.0, ge=0)
    target_quantile: float = Field(default=0.5, gt=0, lt=1)
    noise_at: Literal["clients", "server"] = "clients"
    max_epsilon: PositiveFloat = 8.0
    delta: float = Field(default=1e-6, gt=0, lt=1)

    @model_validator(mode="after")
    def _has_enough(self) -> ClientPrivacy:
        if self.honest_survivors < FEWEST_CLIENTS or self.clients < self.honest_survivors:
            raise ValueError(
                f"client-level privacy needs at least {FEWEST_CLIENTS} honest clients in a sum: among few, its noise destroys the update "
                "or its epsilon means nothing; use subject-level DP-SGD ([privacy])"
            )
        return self


class SecureSumSettings(_Frozen):
    """threshold None: more than half of the clients of the round, the least that the protocol allows."""

    threshold: int | None = Field(default=None, ge=2)
    neighbours: int | None = None
    ring_bits: Literal[32, 64] = 32
    fraction_bits: int = Field(default=20, ge=1, le=40)
    bound: PositiveFloat = 4.0


class GateSettings(_Frozen):
    """Limits that a candidate must keep against the served version."""

    perplexity_margin: float = Field(default=0.01, ge=0)  # relative: candidate <= served * (1 + margin)
    task_margin: float = Field(default=0.02, ge=0)  # absolute: candidate >= served - margin
    canary_exposure_bits: PositiveFloat = 6.0
    canary_strangers: int = Field(default=255, ge=15)  # what a canary is ranked among; log2 of them bounds its exposure
    pii_leaks: int = Field(default=0, ge=0)
    update_norm: PositiveFloat | None = None

    @model_validator(mode="after")
    def _fits(self) -> GateSettings:
        if 2**self.canary_exposure_bits > self.canary_strangers + 1:
            raise ValueError("canary_exposure_bits is more than canary_strangers can show; raise canary_strangers")
        return self


class ServingSettings(_Frozen):
    """Where a published version is served. Without vllm_url a round ends with its publication."""

    vllm_url: str | None = None
    gateway_admin_url: str | None = None
    gateway_key_file: Path | None = None
    alias: str = "smollm2"
    base_name: str = "smollm2"  # the model server's name of the base model
    canary_fraction: float = Field(default=0.1, ge=0, le=1)
    canary_requests: int = Field(default=5, ge=1)  # probes of either version
    canary_watch_s: float = Field(default=30.0, ge=0)  # how long the callers' traffic is watched before the promotion
    max_latency_ratio: PositiveFloat = 3.0
    max_failure_rate: float = Field(default=0.01, ge=0, le=1)  # of the canary's requests, over that of the served version
    drain_s: float = Field(default=30.0, ge=0)


class FederationSettings(_Frozen):
    """The coordinator's file."""

    name: str = "federation"
    base_model: Path
    data_dir: Path
    roster: Path
    held_out: Path
    registry: str
    signing_key: Path
    rounds: int = Field(default=1, ge=1)
    minimum_clients: int = Field(default=2, ge=2)
    threads: int = Field(default=1, ge=1)  # of the gate; more than the idle cores makes it much slower
    round_timeout_s: PositiveFloat = 900.0
    join_timeout_s: PositiveFloat = 120.0
    server_optimizer: Literal["fedavg", "fedadam"] = "fedavg"
    server_learning_rate: PositiveFloat = 1.0
    aggregation: Literal["secure_sum", "trimmed_mean", "krum"] = "secure_sum"
    weight_cap: int = Field(default=10_000, ge=1)
    adapter: AdapterSettings = AdapterSettings()
    local: LocalSettings = LocalSettings()
    privacy: SubjectPrivacy | None = None
    client_privacy: ClientPrivacy | None = None
    secure_sum: SecureSumSettings = SecureSumSettings()
    gate: GateSettings = GateSettings()
    serving: ServingSettings = ServingSettings()

    @model_validator(mode="after")
    def _fits(self) -> FederationSettings:
        if self.aggregation != "secure_sum" and self.privacy is None:
            raise ValueError(
                "trimmed_mean and krum show each update to the server: set [privacy], so that each update is noised before it leaves"
            )
        if self.client_privacy is not None and (self.privacy is not None or self.aggregation != "secure_sum"):
            raise ValueError("[client_privacy] goes with aggregation = 'secure_sum' and without [privacy]: one declared point of noise")
        return self


class InstitutionSettings(_Frozen):
    """The institution's own file. Its client refuses a round that goes below these."""

    name: str
    data: Path
    base_model: Path
    identity_key: Path
    roster: Path
    ledger: Path
    minimum_clients: int = Field(default=2, ge=2)
    max_epsilon: PositiveFloat = 8.0
    delta: float = Field(1e-5, gt=0, lt=1)
    require_privacy: bool = True
    require_secure_sum: bool = True
    threads: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> InstitutionSettings:
        if self.max_epsilon > 8:
            raise ValueError("max_epsilon above 8 promises next to nothing; lower it, or set require_privacy = false and claim nothing")
        return self


def read_settings(path: Path, kind: type[Settings]) -> Settings:
    """The settings in a TOML file; relative paths are taken from the file's folder. Raises BadConfiguration."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        settings = kind.model_validate(raw)
    except OSError as error:
        raise BadConfiguration(f"{path} can't be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise BadConfiguration(f"{path} is no TOML: {error}.") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors(include_input=False))
        raise BadConfiguration(f"{path}: {faults}.") from error
    here = path.resolve().parent
    relative = {name: here / value for name, value in settings if isinstance(value, Path) and not value.is_absolute()}
    return settings.model_copy(update=relative)
