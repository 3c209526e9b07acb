"""Refresh, roll back and recover against a model server that speaks vLLM's HTTP: the served version survives every fault."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from federated_trainer.errors import NotTrusted, RefreshFailed
from federated_trainer.gateway_admin import AliasState, GatewayAdmin
from federated_trainer.publish import Registry
from federated_trainer.refresh import VllmRefresher, VllmServer
from federated_trainer.roster import make_identity, read_private_key
from federated_trainer.served import ServedState, ServedStore
from federated_trainer.settings import ServingSettings

BASE = "b" * 64


@dataclass
class ModelServer:
    """vLLM's interface as far as a refresh uses it; `fails` names calls that answer 500, `down` refuses connections."""

    models: set[str] = field(default_factory=lambda: {"smollm2"})
    fails: set[str] = field(default_factory=set)
    down: bool = False
    roots: dict[str, str] = field(default_factory=dict)
    loaded_paths: list[str] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("refused", request=request)
        path = request.url.path
        body: dict[str, Any] = json.loads(request.content or b"{}")
        if path in self.fails or f"{path} {body.get('model', '')}" in self.fails:
            return httpx.Response(500)
        if path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": name, "root": self.roots.get(name, "")} for name in sorted(self.models)]})
        if path == "/v1/load_lora_adapter":
            assert "load_inplace" not in body
            assert body["lora_name"] not in self.models, "a name is loaded once"
            assert (Path(body["lora_path"]) / "adapter_model.safetensors").exists()
            self.models.add(body["lora_name"])
            self.roots[body["lora_name"]] = body["lora_path"]
            self.loaded_paths.append(body["lora_path"])
            return httpx.Response(200)
        if path == "/v1/unload_lora_adapter":
            self.models.discard(body["lora_name"])
            return httpx.Response(200)
        if path == "/v1/chat/completions" and body["model"] in self.models:
            return httpx.Response(200, json={"usage": {"completion_tokens": 3}})
        return httpx.Response(404)


@dataclass
class Gateway:
    """The admin API of the contract in gateway_admin.py; `traffic` is what it counts for the models behind the alias."""

    aliases: list[dict[str, Any]] = field(default_factory=list)
    traffic: list[dict[str, Any]] = field(default_factory=list)
    down: bool = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("refused", request=request)
        if request.headers["authorization"] != "Bearer k":
            return httpx.Response(401)
        match request.method, request.url.path:
            case "GET", "/admin/v1/models":
                return httpx.Response(200, json={"data": self.aliases[-1:]})
            case "PUT", "/admin/v1/models/smollm2":
                self.aliases.append(json.loads(request.content))
                return httpx.Response(200)
            case "GET", "/admin/v1/models/smollm2/traffic":
                return httpx.Response(200, json={"data": self.traffic})
        return httpx.Response(404)

    def operator_rolls_back(self) -> None:
        """As the console's button does."""
        self.aliases.append({**self.aliases[-1], "target": self.aliases[-1]["previous"], "previous": None})


@dataclass
class Scene:
    server: ModelServer
    gateway: Gateway
    refresher: VllmRefresher
    served: ServedStore


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    public = make_identity(tmp_path / "signing.key")
    registry = Registry(f"file://{tmp_path}/registry", public)
    facts = {"name": "t", "round_number": 1, "clients": 3, "privacy": {}, "measures": {}, "published_at": ""}
    for n in range(4):
        registry.publish(
            lambda folder, n=n: (folder / "adapter_model.safetensors").write_text(str(n)),  # type: ignore[misc]
            read_private_key(tmp_path / "signing.key"), BASE, "l", facts,
        )  # fmt: skip
    server, gateway = ModelServer(), Gateway()
    served = ServedStore(tmp_path / "served.json")
    refresher = VllmRefresher(
        VllmServer("http://model/v1", httpx.MockTransport(server)),
        GatewayAdmin("http://gateway", "k", httpx.MockTransport(gateway)),
        registry,
        served,
        ServingSettings(drain_s=0.0, canary_requests=2, canary_fraction=0.25, canary_watch_s=0.0, max_latency_ratio=1000.0),
        BASE,
        tmp_path / "adapters",
    )
    return Scene(server, gateway, refresher, served)


def test_a_version_goes_through_canary_to_service_and_old_ones_are_unloaded(scene: Scene) -> None:
    for version in range(4):
        scene.refresher.refresh(version)
    assert scene.server.models == {"smollm2", "smollm2@r2", "smollm2@r3"}, "the way back stays loaded"
    canary, promoted = scene.gateway.aliases[-2:]
    shares = {"canary_target": "smollm2@r3", "canary_fraction": 0.25}
    assert canary == {"name": "smollm2", "target": "smollm2@r2", "previous": "smollm2@r1", **shares}
    assert promoted == {"name": "smollm2", "target": "smollm2@r3", "previous": "smollm2@r2", "canary_target": None, "canary_fraction": 0.0}
    assert len(set(scene.server.loaded_paths)) == 4, "each version has a path of its own"


def test_bad_canary_rolls_back_by_itself(scene: Scene) -> None:
    scene.refresher.refresh(0)
    scene.server.fails = {"/v1/chat/completions smollm2@r1"}
    with pytest.raises(RefreshFailed):
        scene.refresher.refresh(1)
    assert scene.served.read() == ServedState(0, -1)
    assert scene.gateway.aliases[-1]["target"] == "smollm2@r0"
    assert "smollm2@r1" not in scene.server.models


def test_model_server_down_leaves_the_served_version(scene: Scene) -> None:
    scene.refresher.refresh(0)
    before = list(scene.gateway.aliases)
    scene.server.down = True
    with pytest.raises(RefreshFailed, match="does not answer"):
        scene.refresher.refresh(1)
    assert scene.served.read().current == 0
    assert scene.gateway.aliases == before
    scene.server.down = False
    scene.refresher.refresh(1)
    assert scene.served.read().current == 1


def test_rollback_and_back_to_the_base_model(scene: Scene) -> None:
    with pytest.raises(RefreshFailed, match="no earlier"):
        scene.refresher.rollback()
    scene.refresher.refresh(0)
    assert scene.refresher.rollback() == -1
    assert scene.gateway.aliases[-1]["target"] == "smollm2"
    assert scene.server.models == {"smollm2"}


def test_served_version_comes_back_after_a_restart_of_the_model_server(scene: Scene) -> None:
    scene.refresher.refresh(2)
    scene.refresher.refresh(3)
    assert scene.refresher.keep_served() == ()
    before = list(scene.gateway.aliases)
    scene.server.models = {"smollm2"}
    assert scene.refresher.keep_served() == ("smollm2@r3", "smollm2@r2"), "the way back too"
    assert scene.gateway.aliases == before, "the alias is not touched"


def test_altered_version_never_reaches_the_model_server(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "registry" / "versions" / "r0001" / "adapter_model.safetensors").write_text("altered")
    with pytest.raises(NotTrusted):
        scene.refresher.refresh(1)
    assert scene.server.loaded_paths == []


def test_a_name_that_holds_other_weights_is_not_used(scene: Scene) -> None:
    scene.server.models.add("smollm2@r0")
    scene.server.roots["smollm2@r0"] = "/another/federation/r0000"
    with pytest.raises(RefreshFailed, match="other weights"):
        scene.refresher.refresh(0)
    assert scene.gateway.aliases == []


def test_gateway_that_refuses_the_alias_stops_the_refresh(scene: Scene) -> None:
    refusing = GatewayAdmin("http://gateway", "wrong", httpx.MockTransport(scene.gateway))
    with pytest.raises(RefreshFailed, match="401"):
        refusing.put("smollm2", AliasState("smollm2@r1"))


def test_gateway_down_leaves_the_served_version(scene: Scene) -> None:
    scene.refresher.refresh(0)
    scene.gateway.down = True
    with pytest.raises(RefreshFailed, match="does not answer"):
        scene.refresher.refresh(1)
    assert scene.served.read().current == 0
    assert scene.server.models == {"smollm2", "smollm2@r0"}


def watching(scene: Scene) -> VllmRefresher:
    return replace(scene.refresher, settings=scene.refresher.settings.model_copy(update={"canary_watch_s": 0.05}))


def row(target: str, requests: int, failed: int, median_s: float) -> dict[str, Any]:
    return {"target": target, "requests": requests, "failed": failed, "median_s": median_s}


def test_callers_failures_on_the_canary_roll_it_back(scene: Scene) -> None:
    scene.refresher.refresh(0)
    scene.gateway.traffic = [row("smollm2@r0", 90, 0, 0.2), row("smollm2@r1", 10, 1, 0.2)]
    with pytest.raises(RefreshFailed, match="1 of its 10 requests failed"):
        watching(scene).refresh(1)
    assert (scene.gateway.aliases[-1]["target"], scene.gateway.aliases[-1]["canary_target"]) == ("smollm2@r0", None)
    scene.gateway.traffic = [row("smollm2@r0", 90, 10, 0.2), row("smollm2@r1", 10, 1, 0.2)]  # no worse than the served one
    watching(scene).refresh(1)
    assert scene.served.read().current == 1


def test_an_operators_rollback_at_the_gateway_is_taken_over(scene: Scene) -> None:
    for version in (0, 1):
        scene.refresher.refresh(version)
    scene.gateway.operator_rolls_back()
    assert scene.refresher.settle() == ServedState(0, None, withdrawn=(1,))
    assert scene.server.models == {"smollm2", "smollm2@r0"}, "the version that was rolled back is unloaded"
    scene.refresher.refresh(2)
    assert scene.served.read() == ServedState(2, 0, withdrawn=(1,))


def test_a_canary_of_a_coordinator_that_died_is_ended(scene: Scene) -> None:
    scene.refresher.refresh(0)
    scene.refresher.aliases.put("smollm2", AliasState("smollm2@r0", "smollm2@r1", 0.25, "smollm2"))
    assert scene.refresher.settle().current == 0
    assert scene.gateway.aliases[-1]["canary_target"] is None
    assert scene.gateway.aliases[-1]["previous"] == "smollm2"


def test_an_alias_to_a_foreign_model_is_left_to_its_operator(scene: Scene) -> None:
    scene.refresher.aliases.put("smollm2", AliasState("gpt-oss"))
    with pytest.raises(RefreshFailed, match="an operator has to say"):
        scene.refresher.refresh(0)
    assert scene.gateway.aliases[-1]["target"] == "gpt-oss"
