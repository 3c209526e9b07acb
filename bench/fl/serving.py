"""From 'round done' to 'served', and swaps under load, against a running vLLM with runtime LoRA loading."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from federated_trainer.adapter import AdaptedModel
from federated_trainer.demo.streaming import StreamingClient
from federated_trainer.publish import Registry
from federated_trainer.refresh import NoAliases, VllmRefresher, VllmServer
from federated_trainer.roster import make_identity, read_private_key
from federated_trainer.served import ServedStore
from federated_trainer.settings import AdapterSettings, ServingSettings


@dataclass(frozen=True)
class Swaps:
    load_s: list[float]
    whole_s: list[float]
    requests: int
    failures: list[str]


def measure(base_model: Path, url: str, swaps: int, base_name: str, alias: str) -> Swaps:
    """Publish and refresh `swaps` versions while a client streams; each version differs from the one before."""
    scratch = Path(tempfile.mkdtemp(prefix="llmos-bench-"))
    model = AdaptedModel(base_model, AdapterSettings(rank=4, alpha=8, targets=("v_proj", "o_proj"), last_layers=4))
    public = make_identity(scratch / "key")
    registry, served = Registry(f"file://{scratch}/registry", public), ServedStore(scratch / "served.json")
    settings = ServingSettings(vllm_url=url, alias=alias, base_name=base_name, canary_requests=1, max_latency_ratio=100.0, drain_s=2.0)
    server = VllmServer(url)
    refresher = VllmRefresher(server, NoAliases(), registry, served, settings, model.base_digest, scratch / "adapters")

    def current() -> str:
        version = served.read().current
        return base_name if version < 0 else f"{alias}@r{version}"

    load_s, whole_s = [], []
    facts = {"name": "bench", "round_number": 0, "clients": 0, "privacy": {}, "measures": {}, "published_at": ""}
    with StreamingClient(url, current, pause_s=0.05) as stream:
        for number in range(swaps):
            model.load_vector(np.full(model.layout.length, 1e-3 * number, dtype=np.float32))
            began = time.perf_counter()
            registry.publish(model.save, read_private_key(scratch / "key"), model.base_digest, model.layout.digest(), facts)
            path = registry.fetch(number, model.base_digest, scratch / "adapters")
            server.load(f"{alias}@r{number}", path)
            load_s.append(time.perf_counter() - began)
            refresher.refresh(number)
            whole_s.append(time.perf_counter() - began - (settings.drain_s if number > 1 else 0.0))
        time.sleep(1.0)
        requests, failures = sum(stream.tally.by_model.values()), list(stream.tally.failures)
    for name in server.models():
        if name.startswith(f"{alias}@r"):
            server.unload(name)
    shutil.rmtree(scratch)
    return Swaps(load_s, whole_s, requests, failures)
