"""Bringing a published version into service without a request lost, and back out where it does not do.

load under a new name → health → a canary share of the traffic → watch → promote or roll back → drain → unload. A name is
never loaded twice with other weights (vLLM's `load_inplace` would serve cached attention of the old ones): version 7 is
`smollm2@r7` for ever. A request in flight finishes on the name that it began with.

The gateway is reached over its admin API only:
    GET  /admin/v1/models           → {"data": [{"name", "target", "canary_target", "canary_fraction"}, …]}
    PUT  /admin/v1/models/{alias}   ← {"name", "target", "canary_target", "canary_fraction"}
both with `Authorization: Bearer KEY`. `target` serves the alias; `canary_fraction` of it goes to `canary_target`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx

from federated_trainer.errors import RefreshFailed
from federated_trainer.publish import Registry
from federated_trainer.served import ServedState, ServedStore
from federated_trainer.settings import ServingSettings

_TIMEOUT_S = 60.0


class VllmServer:
    """The part of vLLM's HTTP interface that a refresh needs (runtime LoRA loading must be on)."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(base_url=url.rstrip("/").removesuffix("/v1"), timeout=_TIMEOUT_S, transport=transport)

    def models(self) -> set[str]:
        """Raises RefreshFailed."""
        try:
            return {str(model["id"]) for model in self._call("GET", "/v1/models").json()["data"]}
        except (ValueError, KeyError, TypeError) as error:
            raise RefreshFailed("The model server's list of models can't be read.") from error

    def load(self, name: str, path: Path) -> None:
        """Raises RefreshFailed."""
        if name not in self.models():
            self._call("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(path)})

    def unload(self, name: str) -> None:
        if name in self.models():
            self._call("POST", "/v1/unload_lora_adapter", {"lora_name": name})

    def answer_s(self, name: str) -> float:
        """Seconds of a short chat completion on this model. Raises RefreshFailed where it fails or is empty."""
        began = time.monotonic()
        body = {"model": name, "messages": [{"role": "user", "content": "Say yes."}], "max_tokens": 8, "temperature": 0}
        reply = self._call("POST", "/v1/chat/completions", body)
        try:
            empty = reply.json()["usage"]["completion_tokens"] < 1
        except (ValueError, KeyError, TypeError) as error:
            raise RefreshFailed(f"{name} gave an answer that is no chat completion.") from error
        if empty:
            raise RefreshFailed(f"{name} answers with nothing.")
        return time.monotonic() - began

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        try:
            reply = self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise RefreshFailed(f"The model server does not answer {path} ({type(error).__name__}); the served version stays.") from error
        if reply.is_error:
            raise RefreshFailed(f"The model server answered {path} with status {reply.status_code}; the served version stays.")
        return reply


class Aliases(Protocol):
    """Where callers' model names are mapped. Raises RefreshFailed."""

    def put(self, alias: str, target: str, canary_target: str | None = None, canary_fraction: float = 0.0) -> None: ...


class GatewayAliases:
    """The gateway's admin API; `key` is an admin key."""

    def __init__(self, url: str, key: str, transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(base_url=url, timeout=10.0, transport=transport, headers={"Authorization": f"Bearer {key}"})

    def put(self, alias: str, target: str, canary_target: str | None = None, canary_fraction: float = 0.0) -> None:
        body = {"name": alias, "target": target, "canary_target": canary_target, "canary_fraction": canary_fraction}
        try:
            reply = self._client.put(f"/admin/v1/models/{alias}", json=body)
        except httpx.HTTPError as error:
            raise RefreshFailed("The gateway's admin API does not answer; the alias stays.") from error
        if reply.is_error:
            raise RefreshFailed(f"The gateway refused the alias with status {reply.status_code}; it stays.")


class NoAliases:
    """Without a gateway, callers name the version themselves (`served.json` tells which is current)."""

    def put(self, alias: str, target: str, canary_target: str | None = None, canary_fraction: float = 0.0) -> None:
        return None


@dataclass(frozen=True)
class VllmRefresher:
    """`Refresher` of round.py. `adapters` is a folder that vLLM can read; `sleep` and the clock are the process's own."""

    server: VllmServer
    aliases: Aliases
    registry: Registry
    served: ServedStore
    settings: ServingSettings
    base_digest: str
    adapters: Path
    progress: Callable[[str, str], None] = field(default=lambda stage, what: None)

    def refresh(self, version: int) -> None:
        """Load, watch, promote. Raises RefreshFailed, NotTrusted, RegistryError; the alias is back on the old version then."""
        before = self.served.read()
        if before.current == version:
            return
        old, new = self._name(before.current), self._name(version)
        path = self.registry.fetch(version, self.base_digest, self.adapters)
        self.server.load(new, path)
        try:
            self.server.answer_s(new)
            self.aliases.put(self.settings.alias, old, new, self.settings.canary_fraction)
            self._watch(old, new)
            self.aliases.put(self.settings.alias, new)
        except RefreshFailed:
            self.progress("refresh", f"{new} is rolled back to {old}")
            self.aliases.put(self.settings.alias, old)
            self.server.unload(new)
            raise
        self.served.write(ServedState(version, before.current))
        self._retire(before.previous, keep={version, before.current})

    def rollback(self) -> int:
        """Back to the version before; returns it. Raises RefreshFailed where there is none."""
        state = self.served.read()
        if state.previous is None:
            raise RefreshFailed("There is no earlier version to roll back to.")
        name = self._name(state.previous)
        if state.previous >= 0:
            self.server.load(name, self.registry.fetch(state.previous, self.base_digest, self.adapters))
        self.server.answer_s(name)
        self.aliases.put(self.settings.alias, name)
        self.served.write(ServedState(state.previous, None))
        self._retire(state.current, keep={state.previous})
        return state.previous

    def ensure_served(self) -> str:
        """Load the served version where the model server forgot it (it was restarted); returns its name. Raises RefreshFailed."""
        current = self.served.read().current
        if current >= 0:
            self.server.load(self._name(current), self.registry.fetch(current, self.base_digest, self.adapters))
        self.aliases.put(self.settings.alias, self._name(current))
        return self._name(current)

    def _watch(self, old: str, new: str) -> None:
        """Ask both in turn: the new one must answer every time, and not much slower than the old one."""
        old_s, new_s = [], []
        for _ in range(self.settings.canary_requests):
            old_s.append(self.server.answer_s(old))
            new_s.append(self.server.answer_s(new))
        ratio = sorted(new_s)[len(new_s) // 2] / max(sorted(old_s)[len(old_s) // 2], 1e-3)
        self.progress("refresh", f"{new} answers in {ratio:.2f} times the time of {old}")
        if ratio > self.settings.max_latency_ratio:
            raise RefreshFailed(f"{new} is {ratio:.1f} times slower than {old}; it was rolled back.")

    def _retire(self, version: int | None, keep: set[int]) -> None:
        """Unload a version that is neither served nor the way back, after its requests had time to end."""
        if version is not None and version >= 0 and version not in keep:
            time.sleep(self.settings.drain_s)
            self.server.unload(self._name(version))

    def _name(self, version: int) -> str:
        return self.settings.base_name if version < 0 else f"{self.settings.alias}@r{version}"
