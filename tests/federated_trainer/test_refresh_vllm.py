"""A version on the real vLLM: loaded, served, lost by the server and loaded again, rolled back, unloaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from federated_trainer.adapter import AdaptedModel
from federated_trainer.errors import RefreshFailed
from federated_trainer.gateway_admin import NoAliases
from federated_trainer.publish import Registry
from federated_trainer.refresh import VllmRefresher, VllmServer
from federated_trainer.roster import make_identity, read_private_key
from federated_trainer.served import ServedStore
from federated_trainer.settings import AdapterSettings, ServingSettings

pytestmark = [pytest.mark.vllm, pytest.mark.slow]
ALIAS = f"test{os.getpid()}"


@pytest.fixture
def refresher(vllm_server: str, model_dir: Path, tmp_path: Path) -> Iterator[VllmRefresher]:
    model = AdaptedModel(model_dir, AdapterSettings(rank=4, alpha=8, last_layers=2))
    registry = Registry(f"file://{tmp_path}/registry", make_identity(tmp_path / "key"))
    facts = {"name": "t", "round_number": 1, "clients": 3, "privacy": {}, "measures": {}, "published_at": ""}
    for number in range(2):
        model.load_vector(np.full(model.layout.length, 1e-3 * number, dtype=np.float32))
        registry.publish(model.save, read_private_key(tmp_path / "key"), model.base_digest, model.layout.digest(), facts)
    settings = ServingSettings(alias=ALIAS, canary_requests=1, canary_watch_s=0.0, max_latency_ratio=1000.0, drain_s=0.0)
    server = VllmServer(vllm_server)
    served = ServedStore(tmp_path / "served.json")
    yield VllmRefresher(server, NoAliases(), registry, served, settings, model.base_digest, tmp_path / "adapters")
    for name in server.models():
        if name.startswith(ALIAS):
            server.unload(name)


def own(refresher: VllmRefresher) -> set[str]:
    return {name for name in refresher.server.models() if name.startswith(ALIAS)}


def test_life_of_a_version_on_vllm(refresher: VllmRefresher) -> None:
    refresher.refresh(0)
    refresher.refresh(1)
    assert own(refresher) == {f"{ALIAS}@r0", f"{ALIAS}@r1"}
    assert refresher.server.answer_s(f"{ALIAS}@r1") > 0
    for name in own(refresher):  # what a restart of the model server does
        refresher.server.unload(name)
    with pytest.raises(RefreshFailed, match="status 404"):
        refresher.server.answer_s(f"{ALIAS}@r1")
    assert refresher.keep_served() == (f"{ALIAS}@r1", f"{ALIAS}@r0")
    assert refresher.rollback() == 0
    assert own(refresher) == {f"{ALIAS}@r0"}
