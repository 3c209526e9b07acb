"""The deployment file of MPC inference: who listens where, with which model, under which bounds.

One YAML file serves all roles; a role reads what it needs. It holds paths, never a key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Protocol, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mpc_inference.errors import ConfigInvalid


class Endpoint(BaseModel):
    """A host and a port."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    host: str = "127.0.0.1"
    port: int = Field(ge=1, le=65535)


SealKey = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Read = TypeVar("_Read", bound=BaseModel)
Mode = Literal["public", "owner", "shared"]
Reveal = Literal["token", "logits"]


class Terms(Protocol):
    """What any client must know of a deployment."""

    @property
    def mode(self) -> Mode: ...

    @property
    def reveal(self) -> Reveal: ...

    @property
    def model(self) -> Path: ...

    @property
    def digest(self) -> str: ...

    @property
    def context_tokens(self) -> int: ...

    @property
    def queue_requests(self) -> int: ...

    @property
    def deadline_s(self) -> float: ...


class Deployment(BaseModel):
    """Everything that a dealer, a party or a client must know."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    mode: Mode = Field(
        default="public", description="public: open weights; owner: weights that party 1 owns; shared: weights shared between the parties"
    )
    reveal: Reveal = Field(
        default="token",
        description="owner and shared: what callers get; `logits` lets them extract the head, and with it much of the model",
    )
    model: Path = Field(description="Hugging Face directory: the client's tokenizer and config.json; public: embedding and head too")
    prepared: Path = Field(description="public: the prepared model file; owner, shared: the manifest beside a role's files")
    digest: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the prepared file; every role compares it")
    certificates: Path
    dealer: Endpoint = Endpoint(port=9500)
    parties: tuple[Endpoint, Endpoint] = (Endpoint(port=9501), Endpoint(port=9502))
    context_tokens: int = Field(default=1024, ge=16, le=2048)
    stock_tokens: int = Field(default=24, ge=1, le=256, description="tokens of correlated randomness kept ready (25 to 50 MB each)")
    ahead_tokens: int = Field(default=8, ge=1, le=64, description="tokens kept ready for a running request")
    seal_keys: tuple[SealKey, SealKey] | None = Field(default=None, description="the parties' public X25519 keys in hex, for blind callers")
    bind: str | None = Field(default=None, description="the address that this host's process listens on; unset: its own endpoint's host")
    show_shares: bool = Field(default=False, description="demonstrations only: `status` tells the first words of the last share received")
    stock_answers: int = Field(default=4, ge=1, le=64, description="owner, shared: drawn tokens whose randomness lies ready (21 MB each)")
    queue_requests: int = Field(default=20, ge=1, le=1000)
    batch_rows: int = Field(default=32, ge=1, le=128)
    deadline_s: float = Field(default=20.0, gt=0, description="how long one round or one piece of randomness may take")
    link_bytes_per_s: float = Field(default=0.0, ge=0, description="benchmarks only: rate of a delayed exchange; 0: any")
    link_delay_s: float = Field(default=0.0, ge=0, le=1, description="benchmarks only: added before every exchange of the parties")


class BlindTerms(BaseModel):
    """What a blind caller must know: no address and no certificate, but the parties' sealing keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    mode: Mode = "public"
    reveal: Reveal = "token"
    model: Path
    digest: str = Field(pattern="^[0-9a-f]{64}$")
    seal_keys: tuple[SealKey, SealKey]
    context_tokens: int = Field(default=1024, ge=16, le=2048)
    queue_requests: int = Field(default=20, ge=1, le=1000)
    deadline_s: float = Field(default=20.0, gt=0)


def read_blind(path: Path) -> BlindTerms:
    """The terms in a YAML file; the model's path may be relative to it. Raises ConfigInvalid naming the field."""
    terms = _read(path, BlindTerms)
    return terms.model_copy(update={"model": path.resolve().parent / terms.model})


def read_config(path: Path) -> Deployment:
    """The deployment in a YAML file; its paths may be relative to the file. Raises ConfigInvalid naming the field."""
    given, here = _read(path, Deployment), path.resolve().parent
    return given.model_copy(update={name: here / getattr(given, name) for name in ("model", "prepared", "certificates")})


def _read(path: Path, kind: type[_Read]) -> _Read:
    try:
        return kind.model_validate(yaml.safe_load(path.read_text()) or {})
    except OSError as error:
        raise ConfigInvalid(f"{path} cannot be read: make it with `llmos mpc init`") from error
    except (yaml.YAMLError, ValidationError) as error:
        raise ConfigInvalid(f"{path} is not a valid MPC configuration: {error}") from error


def write_config(path: Path, deployment: Deployment | BlindTerms) -> None:
    """Write the file that `read_config` or `read_blind` reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(deployment.model_dump(mode="json"), sort_keys=False))
