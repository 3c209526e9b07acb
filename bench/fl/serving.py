"""From 'round done' to 'served', and swaps under load: a real vLLM with runtime LoRA loading, a gateway of our own before it.

Callers stream through the gateway and name the alias only. 'Served' is the moment when the alias sends callers to the new
version: first as a canary, then, after the probes and the watch, all of them.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from federated_trainer.adapter import AdaptedModel
from federated_trainer.demo.streaming import StreamingClient
from federated_trainer.gateway_admin import AliasState, GatewayAdmin, Traffic
from federated_trainer.publish import Registry
from federated_trainer.refresh import VllmRefresher, VllmServer
from federated_trainer.roster import make_identity, read_private_key
from federated_trainer.served import ServedStore
from federated_trainer.settings import AdapterSettings, ServingSettings
from gateway.commands.federate.demo_gateway import demonstration_gateway

STREAMS = 2


@dataclass(frozen=True)
class Swaps:
    """Seconds from the beginning of publishing; requests and failures as the callers saw them, and by the gateway's own count."""

    published_s: list[float]
    canary_s: list[float]
    promoted_s: list[float]
    requests: int
    failures: list[str]
    traffic: dict[str, Traffic]


@dataclass
class Timed:
    """The gateway's aliases, noting when each change was done."""

    gateway: GatewayAdmin
    done_at: list[float] = field(default_factory=list)

    def read(self, alias: str) -> AliasState | None:
        return self.gateway.read(alias)

    def put(self, alias: str, state: AliasState) -> None:
        self.gateway.put(alias, state)
        self.done_at.append(time.perf_counter())

    def traffic(self, alias: str, since_unix_s: float) -> Mapping[str, Traffic]:
        return self.gateway.traffic(alias, since_unix_s)


def measure(base_model: Path, url: str, swaps: int, base_name: str, alias: str) -> Swaps:
    """Publish and refresh `swaps` versions while callers stream; each version differs from the one before."""
    scratch = Path(tempfile.mkdtemp(prefix="llmos-bench-"))
    model = AdaptedModel(base_model, AdapterSettings(rank=4, alpha=8, targets=("v_proj", "o_proj"), last_layers=4))
    registry, served = Registry(f"file://{scratch}/registry", make_identity(scratch / "key")), ServedStore(scratch / "served.json")
    limits = {"canary_requests": 1, "canary_watch_s": 0.0, "max_latency_ratio": 100.0, "drain_s": 2.0, "canary_fraction": 0.5}
    settings = ServingSettings.model_validate({"vllm_url": url, "alias": alias, "base_name": base_name, **limits})
    server = VllmServer(url)
    published_s, canary_s, promoted_s = [], [], []
    facts = {"name": "bench", "round_number": 0, "clients": 0, "privacy": {}, "measures": {}, "published_at": ""}
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, scratch)
        stack.callback(_unload, server, f"{alias}@r")
        running = stack.enter_context(demonstration_gateway(scratch / "gateway", url))
        aliases = Timed(GatewayAdmin(running.url, running.operator_key_file.read_text().strip()))
        aliases.put(alias, AliasState(base_name))
        refresher = VllmRefresher(server, aliases, registry, served, settings, model.base_digest, scratch / "adapters")
        streams = [StreamingClient(f"{running.url}/v1", running.caller_key, lambda: alias, pause_s=0.05) for _ in range(STREAMS)]
        since_unix_s = time.time()
        for stream in streams:
            stack.enter_context(stream)
        for number in range(swaps):
            model.load_vector(np.full(model.layout.length, 1e-3 * (number + 1), dtype=np.float32))
            began, changes = time.perf_counter(), len(aliases.done_at)
            registry.publish(model.save, read_private_key(scratch / "key"), model.base_digest, model.layout.digest(), facts)
            published_s.append(time.perf_counter() - began)
            refresher.refresh(number)
            canary_at, promoted_at = aliases.done_at[changes:]
            canary_s.append(canary_at - began)
            promoted_s.append(promoted_at - began)
        time.sleep(1.0)
        requests, failures = sum(s.tally.requests for s in streams), [f for s in streams for f in s.tally.failures]
        traffic = dict(aliases.traffic(alias, since_unix_s))
    return Swaps(published_s, canary_s, promoted_s, requests, failures, traffic)


def _unload(server: VllmServer, prefix: str) -> None:
    for name in server.models():
        if name.startswith(prefix):
            server.unload(name)
