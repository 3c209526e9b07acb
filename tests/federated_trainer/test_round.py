"""Whole rounds in this process: secure sum, privacy, gate, registry. A failure leaves registry and served model alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from federated_trainer.adapter import AdaptedModel
from federated_trainer.contribution import Contribution
from federated_trainer.dp.secure_random import SecureRandom
from federated_trainer.errors import BadConfiguration, BadUpdate, RefreshFailed, TooFewClients
from federated_trainer.institution import contribute
from federated_trainer.round import Judgement, Ports, RoundUpdate, run_round
from federated_trainer.server_optimizer import ServerOptimizer
from federated_trainer.settings import AdapterSettings, FederationSettings, InstitutionSettings, LocalSettings, SubjectPrivacy
from federated_trainer.simulation import InProcessClients
from federated_trainer.task import RoundTask, make_task
from federated_trainer.weights import Vector

Make = Callable[..., dict[int, InstitutionSettings]]
ADAPTER = AdapterSettings(rank=2, alpha=4)


def federation(tmp_path: Path, base: Path, **changes: object) -> FederationSettings:
    fields: dict[str, object] = {
        "base_model": base,
        "data_dir": tmp_path / "data",
        "roster": tmp_path / "roster.json",
        "held_out": tmp_path / "held_out.jsonl",
        "registry": f"file://{tmp_path}/registry",
        "signing_key": tmp_path / "signing.key",
        "adapter": ADAPTER,
        "local": LocalSettings(epochs=1, batch_rows=None, learning_rate=0.5),
        "weight_cap": 100,
    }
    return FederationSettings.model_validate(fields | changes)


class Recorder:
    """Gate, publisher and refresher that remember; `reasons` refuses."""

    def __init__(self, reasons: tuple[str, ...] = ()) -> None:
        self.reasons = reasons
        self.did: list[str] = []

    def judge(self, candidate: Vector) -> Judgement:
        self.did.append("judge")
        return Judgement({"perplexity": 1.0}, self.reasons)

    def publish(self, weights: Vector, update: RoundUpdate, judgement: Judgement, task: RoundTask) -> int:
        self.did.append("publish")
        return 7

    def refresh(self, version: int) -> None:
        self.did.append(f"refresh {version}")


def play(
    settings: FederationSettings, clients: InProcessClients, recorder: Recorder
) -> tuple[RoundTask, Vector, Mapping[str, str], RoundUpdate]:
    model = AdaptedModel(settings.base_model, settings.adapter)
    task = make_task(settings, 1, model.base_digest, model.layout.digest(), model.vector())
    seen: list[RoundUpdate] = []

    class Watched:
        def sample(self, minimum: int) -> tuple[int, ...]:
            return clients.sample(minimum)

        def train(self, task: RoundTask, chosen: tuple[int, ...]) -> RoundUpdate:
            seen.append(clients.train(task, chosen))
            return seen[-1]

    ports = Ports(Watched(), recorder, recorder, recorder, lambda stage, what: None)
    weights, report = run_round(task, ServerOptimizer("fedavg"), settings.minimum_clients, ports)
    return task, weights, report.refusals, seen[-1]


def test_masked_round_equals_the_plain_weighted_mean(tmp_path: Path, tiny_base: Path, make_institutions: Make) -> None:
    institutions = make_institutions((4, 6, 10))
    recorder = Recorder()
    task, weights, _, update = play(federation(tmp_path, tiny_base), InProcessClients(institutions, contribute), recorder)
    plain = [contribute(task, own, SecureRandom()).vector for own in institutions.values()]
    expected = np.sum([v[:-2] for v in plain], axis=0) / np.sum([v[-2] for v in plain])
    # Three roundings to 2^-20, divided by the sum of the weights (20 of 100).
    np.testing.assert_allclose(weights - task.weights, expected, atol=3 * 2**-21 / 0.2 + 1e-6)
    assert update.mean_loss is not None
    assert recorder.did == ["judge", "publish", "refresh 7"]


def test_refused_candidate_leaves_weights_registry_and_serving(tmp_path: Path, tiny_base: Path, make_institutions: Make) -> None:
    recorder = Recorder(("Its perplexity is worse.",))
    task, weights, _, _ = play(federation(tmp_path, tiny_base), InProcessClients(make_institutions((3, 3)), contribute), recorder)
    assert recorder.did == ["judge"]
    assert weights is task.weights


def test_institution_that_cannot_train_drops_out_and_is_named(tmp_path: Path, tiny_base: Path, make_institutions: Make) -> None:
    institutions = make_institutions((4, 4, 4))
    bad = next(iter(institutions.values()))
    bad.data.write_text("{}\n")
    _, _, refusals, update = play(federation(tmp_path, tiny_base), InProcessClients(institutions, contribute), Recorder())
    assert update.clients == 2
    assert "BadDataset" in refusals[bad.name]


def test_too_few_institutions_end_the_round(tmp_path: Path, tiny_base: Path, make_institutions: Make) -> None:
    recorder = Recorder()
    institutions = make_institutions((4, 4))
    next(iter(institutions.values())).data.unlink()
    with pytest.raises(TooFewClients):
        play(federation(tmp_path, tiny_base), InProcessClients(institutions, contribute), recorder)
    with pytest.raises(TooFewClients, match="needs 3"):
        play(federation(tmp_path, tiny_base, minimum_clients=3), InProcessClients(institutions, contribute), recorder)
    assert recorder.did == []


def test_not_finite_or_oversize_update_never_leaves_its_client(tmp_path: Path, tiny_base: Path, make_institutions: Make) -> None:
    institutions = make_institutions((4, 4, 4))
    names = [own.name for own in institutions.values()]

    def spoil(task: RoundTask, own: InstitutionSettings, random: SecureRandom) -> Contribution:
        made = contribute(task, own, random)
        if own.name == names[0]:
            made.vector[3] = np.inf
        return made

    _, _, refusals, update = play(federation(tmp_path, tiny_base), InProcessClients(institutions, spoil), Recorder())
    assert update.clients == 2
    assert "BadUpdate" in refusals[names[0]]


def test_private_round_pays_first_and_stops_at_the_limit(tmp_path: Path, tiny_base: Path, make_institutions: Make) -> None:
    privacy = SubjectPrivacy(noise_multiplier=1.0, clip_norm=0.1, sampling_rate=0.5, expected_batch=2.0, steps=2)
    settings = federation(tmp_path, tiny_base, privacy=privacy)
    institutions = make_institutions((4, 4), require_privacy=True, max_epsilon=6.0)
    clients = InProcessClients(institutions, contribute)
    _, _, _, update = play(settings, clients, Recorder())
    assert update.mean_loss is None, "the loss is a function of the data and is not released"
    assert all(0 < epsilon <= 6.0 for epsilon in update.epsilons.values())
    for own in institutions.values():  # what is left does not pay for another round
        own.ledger.write_text(own.ledger.read_text() * 8)
    with pytest.raises(TooFewClients):
        play(settings, clients, Recorder())


@pytest.mark.parametrize(
    ("own", "what"),
    [({"require_privacy": True}, "differential privacy only"), ({"base": True}, "another base model"), ({"shape": True}, "another shape")],
)
def test_floors_and_base_model_of_an_institution(
    tmp_path: Path, tiny_base: Path, make_institutions: Make, own: dict[str, bool], what: str
) -> None:
    settings = federation(tmp_path, tiny_base)
    (institution, _) = make_institutions((3, 3), **(own if "require_privacy" in own else {})).values()
    model = AdaptedModel(tiny_base, ADAPTER)
    digest = "0" * 64 if "base" in own else model.base_digest
    layout = AdaptedModel(tiny_base, AdapterSettings(rank=3)).layout.digest() if "shape" in own else model.layout.digest()
    task = make_task(settings, 1, digest, layout, model.vector())
    with pytest.raises((BadConfiguration, BadUpdate), match=what):
        contribute(task, institution, SecureRandom())


def test_full_weights_with_tied_embeddings_under_dp_are_refused_before_the_ledger_pays(
    tmp_path: Path, tiny_base: Path, make_institutions: Make
) -> None:
    privacy = SubjectPrivacy(noise_multiplier=1.0, sampling_rate=0.5, expected_batch=2.0, steps=1)
    settings = federation(tmp_path, tiny_base, privacy=privacy, adapter=AdapterSettings(kind="full"))
    model = AdaptedModel(tiny_base, settings.adapter)
    (institution, _) = make_institutions((3, 3)).values()
    with pytest.raises(BadConfiguration, match="tied embeddings"):
        contribute(make_task(settings, 1, model.base_digest, model.layout.digest(), model.vector()), institution, SecureRandom())
    assert not institution.ledger.exists()


def test_a_version_that_could_not_be_refreshed_is_published_and_says_so(tmp_path: Path, tiny_base: Path, make_institutions: Make) -> None:
    class Down(Recorder):
        def refresh(self, version: int) -> None:
            raise RefreshFailed("The model server does not answer.")

    settings, recorder = federation(tmp_path, tiny_base), Down()
    model = AdaptedModel(tiny_base, ADAPTER)
    task = make_task(settings, 1, model.base_digest, model.layout.digest(), model.vector())
    clients = InProcessClients(make_institutions((3, 3)), contribute)
    ports = Ports(clients, recorder, recorder, recorder, lambda stage, what: None)
    _, report = run_round(task, ServerOptimizer("fedavg"), 2, ports)
    assert report.version == 7
    assert report.reasons == ("It is published and not served. The model server does not answer.",)


def test_two_factor_lora_under_dp_is_refused(tmp_path: Path, tiny_base: Path) -> None:
    privacy = SubjectPrivacy(noise_multiplier=1.0, sampling_rate=0.5, expected_batch=2.0, steps=1)
    settings = federation(tmp_path, tiny_base, privacy=privacy, adapter=AdapterSettings(kind="lora"))
    with pytest.raises(BadConfiguration, match="ffa_lora"):
        make_task(settings, 1, "", "", np.zeros(1, dtype=np.float32))
