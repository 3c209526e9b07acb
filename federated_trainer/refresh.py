"""Bringing a published version into service without a request lost, and back out where it does not do.

load under a new name → health → a canary share of the traffic → watch → promote or roll back → drain → unload. A name is
never loaded twice with other weights (vLLM's `load_inplace` would serve cached attention of the old ones): version 7 is
`smollm2@r7` for ever. A request in flight finishes on the name that it began with.
Not covered: full weights, which are served by a second model server (docs/federated.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from federated_trainer.canary import probe_fault, traffic_fault
from federated_trainer.errors import RefreshFailed
from federated_trainer.gateway_admin import Aliases, AliasState, Traffic
from federated_trainer.publish import Registry
from federated_trainer.served import BASE, ServedState, ServedStore
from federated_trainer.settings import ServingSettings

_TIMEOUT_S = 60.0
_WATCH_EVERY_S = 2.0
_PROBE_TOKENS = 8
_HEALTH_TOKENS = 1  # a version is in service the sooner


class VllmServer:
    """The part of vLLM's HTTP interface that a refresh needs (runtime LoRA loading must be on)."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(base_url=url.rstrip("/").removesuffix("/v1"), timeout=_TIMEOUT_S, transport=transport)

    def models(self) -> dict[str, str]:
        """The path that each served name was loaded from. Raises RefreshFailed."""
        try:
            return {str(model["id"]): str(model.get("root", "")) for model in self._call("GET", "/v1/models").json()["data"]}
        except (ValueError, KeyError, TypeError) as error:
            raise RefreshFailed("The model server's list of models can't be read.") from error

    def load(self, name: str, path: Path) -> None:
        """Raises RefreshFailed, also where the name is taken by other weights: they would answer under it from the cache."""
        root = self.models().get(name)
        if root is None:
            self._call("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(path)})
        elif root != str(path):
            raise RefreshFailed(f"The model server has other weights under the name {name}; unload them, or take another alias.")

    def unload(self, name: str) -> None:
        if name in self.models():
            self._call("POST", "/v1/unload_lora_adapter", {"lora_name": name})

    def answer_s(self, name: str, tokens: int = _PROBE_TOKENS) -> float:
        """Seconds of a chat completion of so many tokens on this model. Raises RefreshFailed where it fails or is empty."""
        began = time.monotonic()
        body = {"model": name, "messages": [{"role": "user", "content": "Say yes."}], "max_tokens": tokens, "temperature": 0}
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
        before = self.settle()
        if before.current == version:
            return
        old, new = self._name(before.current), self._name(version)
        way_back = None if before.previous is None else self._name(before.previous)
        path = self.registry.fetch(version, self.base_digest, self.adapters)
        self.server.load(new, path)
        try:
            self.server.answer_s(new, _HEALTH_TOKENS)
            began_unix_s = time.time()
            self.aliases.put(self.settings.alias, AliasState(old, new, self.settings.canary_fraction, way_back))
            self._probe(old, new)
            self._watch(old, new, began_unix_s)
            self.aliases.put(self.settings.alias, AliasState(new, previous=old))
        except RefreshFailed:
            self.progress("refresh", f"{new} is rolled back to {old}")
            self.aliases.put(self.settings.alias, AliasState(old, previous=way_back))
            self.server.unload(new)
            raise
        self.served.write(before.promoted(version))
        self._retire(before.previous, keep={version, before.current})

    def rollback(self) -> int:
        """Back to the version before; returns it. Raises RefreshFailed where there is none."""
        state = self.settle()
        if state.previous is None:
            raise RefreshFailed("There is no earlier version to roll back to.")
        name = self._name(state.previous)
        if state.previous >= 0:
            self.server.load(name, self.registry.fetch(state.previous, self.base_digest, self.adapters))
        self.server.answer_s(name, _HEALTH_TOKENS)
        self.aliases.put(self.settings.alias, AliasState(name))
        self.served.write(state.rolled_back(state.previous))
        self._retire(state.current, keep={state.previous})
        return state.previous

    def settle(self) -> ServedState:
        """What is served, by the gateway's alias: an operator may have rolled back there. A canary of a coordinator that died is ended.

        Raises RefreshFailed, also where the alias points at something that is none of this federation's versions.
        """
        state, alias = self.served.read(), self.aliases.read(self.settings.alias)
        if alias is None:
            return state
        target = self._version(alias.target)
        if alias.canary_target is not None:
            self.aliases.put(self.settings.alias, AliasState(alias.target, previous=alias.previous))
        if target != state.current:
            self.progress("refresh", f"{alias.target} was put in service at the gateway")
            left, state = state.current, state.rolled_back(target)
            self.served.write(state)
            self._retire(left, keep={target})
        return state

    def keep_served(self) -> tuple[str, ...]:
        """Load the served version and its way back where the model server forgot them (it was restarted); returns what it loaded.

        The alias is not touched. Raises RefreshFailed, NotTrusted, RegistryError.
        """
        state, loaded = self.served.read(), self.server.models()
        wanted = [n for n in (state.current, state.previous) if n is not None and n >= 0 and self._name(n) not in loaded]
        for version in wanted:
            self.server.load(self._name(version), self.registry.fetch(version, self.base_digest, self.adapters))
        return tuple(self._name(version) for version in wanted)

    def _probe(self, old: str, new: str) -> None:
        """Ask both in turn: the new one must answer every time, and not much slower than the old one."""
        old_s, new_s = [], []
        for _ in range(self.settings.canary_requests):
            old_s.append(self.server.answer_s(old))
            new_s.append(self.server.answer_s(new))
        _refuse(new, probe_fault(old_s, new_s, self.settings))

    def _watch(self, old: str, new: str, since_unix_s: float) -> None:
        """Look at the callers' traffic until the time is up; the first fault ends it."""
        ends = time.monotonic() + self.settings.canary_watch_s
        while (left_s := ends - time.monotonic()) > 0:
            time.sleep(min(_WATCH_EVERY_S, left_s))
            seen = self.aliases.traffic(self.settings.alias, since_unix_s)
            before, canary = seen.get(old, Traffic()), seen.get(new, Traffic())
            self.progress("refresh", f"{new} answered {canary.requests} requests ({canary.failed} failed), {old} {before.requests}")
            _refuse(new, traffic_fault(before, canary, self.settings))

    def _retire(self, version: int | None, keep: set[int]) -> None:
        """Unload a version that is neither served nor the way back, after its requests had time to end."""
        if version is not None and version >= 0 and version not in keep:
            time.sleep(self.settings.drain_s)
            self.server.unload(self._name(version))

    def _name(self, version: int) -> str:
        return self.settings.base_name if version < 0 else f"{self.settings.alias}@r{version}"

    def _version(self, name: str) -> int:
        if name == self.settings.base_name:
            return BASE
        number = name.removeprefix(f"{self.settings.alias}@r")
        if number == name or not number.isdecimal():
            raise RefreshFailed(
                f"The alias points at {name}, which is no version of this federation; an operator has to say what is served."
            )
        return int(number)


def _refuse(new: str, fault: str | None) -> None:
    if fault is not None:
        raise RefreshFailed(f"{new} was rolled back: {fault}.")
