"""The gateway as the trainer sees it: its admin API, and nothing else of it.

    GET  /admin/v1/models                        → {"data": [{"name", "target", "canary_target", "canary_fraction", "previous"}, …]}
    PUT  /admin/v1/models/{alias}                ← the same object
    GET  /admin/v1/models/{alias}/traffic?since_unix_s=…  → {"data": [{"target", "requests", "failed", "median_s"}, …]}
    PUT  /admin/v1/rounds/{federation}           ← the state that an administrator sees

all with `Authorization: Bearer KEY`, a key of the role operator. `target` serves the alias, `canary_fraction` of it goes to
`canary_target`, and `previous` is where a rollback goes. The alias in the gateway is the truth about what is served: an
operator may roll back there at any time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from federated_trainer.errors import RefreshFailed

_TIMEOUT_S = 10.0
_TELL_TIMEOUT_S = 2.0
_QUIET_S = 30.0  # after a state that could not be told


@dataclass(frozen=True, slots=True)
class AliasState:
    """Where an alias points."""

    target: str
    canary_target: str | None = None
    canary_fraction: float = 0.0
    previous: str | None = None


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one model answered: requests that ended, those that failed by the server's fault, median seconds (None: no request)."""

    requests: int = 0
    failed: int = 0
    median_s: float | None = None


class Aliases(Protocol):
    """Where callers' model names are mapped. Each raises RefreshFailed."""

    def read(self, alias: str) -> AliasState | None: ...

    def put(self, alias: str, state: AliasState) -> None: ...

    def traffic(self, alias: str, since_unix_s: float) -> Mapping[str, Traffic]: ...


class NoAliases:
    """Without a gateway, callers name the version themselves (`served.json` tells which is current)."""

    def read(self, alias: str) -> AliasState | None:
        return None

    def put(self, alias: str, state: AliasState) -> None:
        return None

    def traffic(self, alias: str, since_unix_s: float) -> Mapping[str, Traffic]:
        return {}


class GatewayAdmin:
    """`Aliases` over the admin API at `url` (without /admin/v1)."""

    def __init__(self, url: str, key: str, transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(base_url=url, timeout=_TIMEOUT_S, transport=transport, headers={"Authorization": f"Bearer {key}"})

    def read(self, alias: str) -> AliasState | None:
        """None where there is no such alias."""
        found = [entry for entry in self._data("GET", "/admin/v1/models") if entry.get("name") == alias]
        try:
            return AliasState(**{name: value for name, value in found[0].items() if name != "name"}) if found else None
        except TypeError as error:
            raise RefreshFailed("The gateway describes its aliases in a way that this version of the trainer does not know.") from error

    def put(self, alias: str, state: AliasState) -> None:
        body = {
            "name": alias,
            "target": state.target,
            "canary_target": state.canary_target,
            "canary_fraction": state.canary_fraction,
            "previous": state.previous,
        }
        self._call("PUT", f"/admin/v1/models/{alias}", body)

    def traffic(self, alias: str, since_unix_s: float) -> Mapping[str, Traffic]:
        rows = self._data("GET", f"/admin/v1/models/{alias}/traffic?since_unix_s={since_unix_s:.3f}")
        return {str(row["target"]): Traffic(row["requests"], row["failed"], row["median_s"]) for row in rows}

    def tell_rounds(self, federation: str, state: Mapping[str, Any], timeout_s: float = _TELL_TIMEOUT_S) -> None:
        self._call("PUT", f"/admin/v1/rounds/{federation}", dict(state), timeout_s)

    def _data(self, method: str, path: str) -> list[dict[str, Any]]:
        try:
            data: list[dict[str, Any]] = self._call(method, path).json()["data"]
        except (ValueError, KeyError, TypeError) as error:
            raise RefreshFailed("The gateway's admin API answered with something else than it documents.") from error
        return data

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None, timeout_s: float = _TIMEOUT_S) -> httpx.Response:
        try:
            reply = self._client.request(method, path, json=body, timeout=timeout_s)
        except httpx.HTTPError as error:
            raise RefreshFailed(f"The gateway's admin API does not answer ({type(error).__name__}); the alias stays.") from error
        if reply.is_error:
            raise RefreshFailed(f"The gateway refused the change with status {reply.status_code}; the alias stays.")
        return reply


class RoundsTeller:
    """Tells the gateway the federation's state, best effort: a gateway that is away never holds up a round."""

    def __init__(self, gateway: GatewayAdmin | None, federation: str, alias: str) -> None:
        self._gateway, self._federation, self._alias = gateway, federation, alias
        self._quiet_until = 0.0

    def tell(self, state: Mapping[str, Any]) -> None:
        if self._gateway is None or time.monotonic() < self._quiet_until:
            return
        try:
            self._gateway.tell_rounds(self._federation, {"alias": self._alias, **state})
        except RefreshFailed:
            self._quiet_until = time.monotonic() + _QUIET_S
