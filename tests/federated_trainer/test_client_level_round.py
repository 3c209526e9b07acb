"""Client-level privacy in whole rounds of 104 simulated clients: the secure sum with the noise in its ring; few clients are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from federated_trainer.contribution import Contribution
from federated_trainer.dp.secure_random import SecureRandom
from federated_trainer.errors import BadConfiguration, BadUpdate, TooFewClients
from federated_trainer.roster import client_id, make_identity, write_roster
from federated_trainer.secure_sum.client import ClientSession
from federated_trainer.secure_sum.in_process import make_identities
from federated_trainer.secure_sum.parameters import Parameters
from federated_trainer.settings import ClientPrivacy, FederationSettings, InstitutionSettings, SecureSumSettings, read_settings
from federated_trainer.simulation import InProcessClients
from federated_trainer.task import RoundTask, make_task

CLIENTS, LENGTH = 104, 50
PRIVACY = ClientPrivacy(clients=CLIENTS, honest_survivors=100, noise_multiplier=0.5, clip_norm=2.0, fraction_bits=12, bit_noise=4.0)
DELTA = np.linspace(-0.1, 0.1, LENGTH)


@pytest.fixture(scope="module")
def institutions(tmp_path_factory: pytest.TempPathFactory) -> dict[int, InstitutionSettings]:
    folder = tmp_path_factory.mktemp("many")
    publics = {f"c{n}": make_identity(folder / f"c{n}.key") for n in range(CLIENTS)}
    write_roster(folder / "roster.json", publics)
    paths = {"data": "d", "base_model": "m", "ledger": "l", "roster": folder / "roster.json"}
    return {
        client_id(public): InstitutionSettings.model_validate(
            {"name": name, "identity_key": folder / f"{name}.key", "require_privacy": False, **paths}
        )
        for name, public in publics.items()
    }


def task_of(tmp_path: Path, privacy: ClientPrivacy) -> RoundTask:
    paths = dict.fromkeys(("base_model", "data_dir", "roster", "held_out", "signing_key"), tmp_path)
    fields = {"registry": "file:///x", "client_privacy": privacy, "secure_sum": SecureSumSettings(neighbours=20)}
    settings = FederationSettings.model_validate(paths | fields)
    return make_task(settings, 1, "", "", np.zeros(LENGTH, dtype=np.float32))


def contribute(task: RoundTask, own: InstitutionSettings, random: SecureRandom) -> Contribution:
    """Every client's update is DELTA, whatever its number of rows; one is wild, and clipped."""
    weight = 0.25 if own.name == "c1" else 1.0
    delta = DELTA * (1000.0 if own.name == "c0" else 1.0)
    return Contribution(np.concatenate([weight * delta, [weight, 0.0]]), None)


@pytest.mark.parametrize("noise_at", ["clients", "server"])
def test_a_round_has_the_declared_noise_and_weighs_clients_alike(
    tmp_path: Path, institutions: dict[int, InstitutionSettings], noise_at: str
) -> None:
    """The residual's variance against the declared one over 50 coordinates; the bound fails once in 10,000 runs."""
    privacy = PRIVACY.model_copy(update={"noise_at": noise_at})
    task = task_of(tmp_path, privacy)
    clients = InProcessClients(institutions, contribute, lambda client: SecureRandom(client.to_bytes(32, "big")))
    update = clients.train(task, clients.sample(2))
    assert update.clients == CLIENTS
    wild = DELTA / np.linalg.norm(DELTA) * PRIVACY.clip_norm
    expected = (DELTA * (CLIENTS - 1) + wild) / CLIENTS
    level = task.client_level()
    parts = CLIENTS if noise_at == "clients" else level.honest_survivors
    std = (parts * level.client_variance) ** 0.5 / 2**12 / CLIENTS
    assert abs(float(np.mean(((update.mean - expected) / std) ** 2)) - 1) < 4.5 * (2 / LENGTH) ** 0.5
    assert update.next_clip is not None
    assert update.next_clip < PRIVACY.clip_norm, "nearly all were under the clip: it shrinks"


def test_a_sum_with_fewer_than_the_honest_survivors_is_thrown_away(tmp_path: Path, institutions: dict[int, InstitutionSettings]) -> None:
    def five_fail(task: RoundTask, own: InstitutionSettings, random: SecureRandom) -> Contribution:
        if own.name in ("c2", "c3", "c4", "c5", "c6"):
            raise BadUpdate("not finite")
        return contribute(task, own, random)

    clients = InProcessClients(institutions, five_fail)
    with pytest.raises(TooFewClients, match="calibrated to 100"):
        clients.train(task_of(tmp_path, PRIVACY), clients.sample(2))


def test_a_client_refuses_to_open_a_sum_with_too_little_noise() -> None:
    """A server that leaves clients out is stopped by the clients themselves, before anything can be opened."""
    private, roster = make_identities(range(1, 6))
    parameters = Parameters(b"round-0123456789", tuple(range(1, 6)), 3, 4, 3, 32, b"c")
    sessions = {c: ClientSession(parameters, c, private[c], roster, fewest_survivors=5) for c in parameters.clients}
    adverts = [s.advertise() for s in sessions.values()]
    envelopes = {c: s.share(adverts).sealed for c, s in sessions.items()}
    sessions[1].mask({c: envelopes[c][1] for c in envelopes if c != 1}, np.zeros(3, dtype=np.uint32))
    with pytest.raises(TooFewClients, match="5 and more"):
        sessions[1].confirm([1, 2, 3, 4])


def test_among_three_the_settings_say_what_to_use_instead(tmp_path: Path) -> None:
    lines = {name: str(tmp_path) for name in ("base_model", "data_dir", "roster", "held_out", "signing_key", "registry")}
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items())
    (tmp_path / "f.toml").write_text(text + "[client_privacy]\nclients = 3\nhonest_survivors = 3\nnoise_multiplier = 1.0\n")
    with pytest.raises(BadConfiguration, match="subject-level DP-SGD"):
        read_settings(tmp_path / "f.toml", FederationSettings)
    with pytest.raises(ValueError, match="one declared point of noise"):
        FederationSettings.model_validate(
            {**lines, "client_privacy": PRIVACY, "aggregation": "krum", "privacy": None}
            | {"privacy": {"noise_multiplier": 1.0, "sampling_rate": 0.5, "expected_batch": 1.0, "steps": 1}}
        )
