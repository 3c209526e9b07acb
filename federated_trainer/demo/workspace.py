"""The demonstration's files: keys, roster, data and settings of three invented institutions and their coordinator."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from federated_trainer.demo_data.generate import DOMAINS, write
from federated_trainer.dp.accounting import noise_multiplier_for
from federated_trainer.roster import make_identity, write_roster

STEPS, SAMPLING_RATE, ROUNDS_PAID = 2, 0.25, 4  # three rounds and the poisoned one, which the honest institutions pay for too
EPSILON, DELTA = 8.0, 1e-5
EXPECTED_BATCH = 14.0  # a quarter of 56 subjects: a public constant of this data set's card


@dataclass(frozen=True)
class Serving:
    """The running model server, and the gateway in front of it with the file of an operator's key (None: no gateway)."""

    vllm_url: str
    base_name: str
    alias: str
    gateway_url: str | None = None
    gateway_key_file: Path | None = None


OWN_FOLDERS = ("data", "coordinator", "registry", "network")


@dataclass(frozen=True)
class Workspace:
    folder: Path
    federation: Path
    institutions: dict[str, Path]
    noise_multiplier: float


def make_workspace(folder: Path, base_model: Path, serving: Serving | None) -> Workspace:
    """Write everything under `folder`, replacing what an earlier demonstration wrote there."""
    for name in (*OWN_FOLDERS, *DOMAINS):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "signing.key").unlink(missing_ok=True)
    write(folder / "data")
    # A little above the least multiplier, so that the fourth round's total stays under the limit after rounding.
    noise = round(noise_multiplier_for(EPSILON, DELTA, SAMPLING_RATE, STEPS * ROUNDS_PAID) + 0.002, 3)
    identities: dict[str, bytes] = {}
    institutions: dict[str, Path] = {}
    for name in DOMAINS:
        home = folder / name
        identities[name] = make_identity(home / "identity.key")
        institutions[name] = home / "institution.toml"
        institutions[name].write_text(_institution(name, folder, base_model), encoding="utf-8")
    write_roster(folder / "roster.json", identities)
    make_identity(folder / "signing.key")
    federation = folder / "federation.toml"
    federation.write_text(_federation(folder, base_model, noise, serving), encoding="utf-8")
    return Workspace(folder, federation, institutions, noise)


def _institution(name: str, folder: Path, base_model: Path) -> str:
    return f'''# {name}: floors that its client keeps, whatever the coordinator asks
name = "{name}"
data = "{folder / "data" / f"{name}.train.jsonl"}"
base_model = "{base_model}"
identity_key = "identity.key"
roster = "{folder / "roster.json"}"
ledger = "ledger.jsonl"
max_epsilon = {EPSILON}
delta = {DELTA}
'''


def _federation(folder: Path, base_model: Path, noise: float, serving: Serving | None) -> str:
    return f'''name = "demo"
base_model = "{base_model}"
data_dir = "{folder / "coordinator"}"
roster = "{folder / "roster.json"}"
held_out = "{folder / "data" / "held_out.jsonl"}"
registry = "file://{folder / "registry"}"
signing_key = "{folder / "signing.key"}"
rounds = 3
minimum_clients = 3
threads = 2  # the institutions wait while the gate measures
join_timeout_s = 600.0  # a busy machine starts processes slowly

[adapter]
kind = "ffa_lora"
rank = 4
alpha = 8
targets = ["v_proj", "o_proj"]
last_layers = 4

[local]
learning_rate = 80.0
max_tokens = 80

[privacy]
noise_multiplier = {noise}
clip_norm = 0.1
sampling_rate = {SAMPLING_RATE}
expected_batch = {EXPECTED_BATCH}
steps = {STEPS}

[secure_sum]
fraction_bits = 18
bound = 32.0

[gate]
canary_strangers = 63
canary_exposure_bits = 5.0
{"" if serving is None else _serving(serving)}'''


def _serving(serving: Serving) -> str:
    lines = [
        "[serving]",
        f'vllm_url = "{serving.vllm_url}"',
        f'alias = "{serving.alias}"',
        f'base_name = "{serving.base_name}"',
        "canary_fraction = 0.3",
        "canary_requests = 2",
        "canary_watch_s = 6.0",
        "max_latency_ratio = 10.0  # two answers on a busy machine say little about speed",
        "drain_s = 3.0",
    ]
    if serving.gateway_url is not None:
        lines += [f'gateway_admin_url = "{serving.gateway_url}"', f'gateway_key_file = "{serving.gateway_key_file}"']
    return "\n".join(["", *lines, ""])
