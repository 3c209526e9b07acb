"""What is done with model aliases and federations: each change of what serves stands in the audit before it is done.

A federation's coordinator writes the state of its rounds here and promotes versions; an operator looks and rolls back. What
it tells of a round's stages is no act and is not recorded; a federation that is new or gone and a round that ended are. The
traffic of an alias is counted from the audit's outcome records, so that all replicas see the same numbers.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.admin.acting import acting
from gateway.admin.parts import AdminParts
from gateway.audit.content_free import carries
from gateway.errors import BadRequest
from gateway.exchange import Principal
from gateway.stores.aliases import Alias
from gateway.stores.audit import ValkeyAudit

MAX_TRAFFIC_RECORDS = 20_000
SLACK_S = 30.0


async def put_alias(parts: AdminParts, who: Principal, alias: Alias) -> None:
    """Raises BadRequest, StoreUnavailable."""
    if not 0.0 <= alias.canary_fraction <= 1.0:
        raise BadRequest("`canary_fraction` is from 0 to 1.", param="canary_fraction")
    if alias.canary_target is None and alias.canary_fraction:
        raise BadRequest("`canary_fraction` needs a `canary_target`.", param="canary_target")
    for param, model in (("name", alias.name), ("target", alias.target), ("canary_target", alias.canary_target)):
        if model is not None and not carries("model", model):
            raise BadRequest(
                f"`{param}` holds nine digits or more in a row, or looks like an e-mail address: the audit withholds such a name, and a "
                "canary's traffic is counted from the audit.",
                param=param,
            )
    about = {"canary": alias.canary_target, "canary_fraction": alias.canary_fraction}
    async with acting(parts, who, "model.alias", alias=alias.name, model=alias.target, **about):
        await parts.aliases.put(alias)


async def remove_alias(parts: AdminParts, who: Principal, name: str) -> None:
    """Raises NotFound, StoreUnavailable."""
    async with acting(parts, who, "model.unalias", alias=name):
        await parts.aliases.remove(name)


async def roll_back_alias(parts: AdminParts, who: Principal, name: str, from_target: str) -> Alias:
    """Raises NotFound, BadRequest, EditConflict, StoreUnavailable."""
    async with acting(parts, who, "model.rollback", alias=name, model=from_target):
        return await parts.aliases.roll_back(name, from_target)


async def tell_rounds(parts: AdminParts, who: Principal, federation: str, state: Mapping[str, Any]) -> None:
    """Raises StoreUnavailable."""
    before, rounds = await parts.rounds.get(federation), orjson.dumps(state["rounds"])
    if before is not None and orjson.dumps(before["rounds"]) == rounds:
        await parts.rounds.put(federation, state)
        return
    last = state["rounds"][-1] if state["rounds"] else {}
    about = {"round_number": last.get("round_number"), "version": last.get("version"), "alias": state["alias"]}
    async with acting(parts, who, "rounds.told", target=federation, **about):
        await parts.rounds.put(federation, state)


async def forget_rounds(parts: AdminParts, who: Principal, federation: str) -> None:
    """Raises NotFound, StoreUnavailable."""
    async with acting(parts, who, "rounds.forgotten", target=federation):
        await parts.rounds.remove(federation)


@dataclass(slots=True)
class TargetTraffic:
    """What one model behind an alias answered: requests that ended, those that failed by the server's fault, seconds."""

    requests: int = 0
    failed: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def median_s(self) -> float | None:
        return statistics.median(self.seconds) if self.seconds else None


async def alias_traffic(audit: ValkeyAudit, name: str, since_unix_s: float) -> dict[str, TargetTraffic]:
    """By served model, since a time; at most MAX_TRAFFIC_RECORDS of a tenant's newest records. Raises StoreUnavailable."""
    seen: dict[str, TargetTraffic] = {}
    for tenant in await audit.tenants():
        looked_at = 0
        async for link in audit.newest(tenant):
            record = orjson.loads(link.record)
            looked_at += 1
            ended_unix_s = float(record.get("unix_s", 0.0))
            # records stand in the order of their writing, but for those that were spooled while the store was away
            if looked_at > MAX_TRAFFIC_RECORDS or ended_unix_s < since_unix_s - SLACK_S:
                break
            if record.get("kind") == "outcome" and record.get("model") == name and ended_unix_s >= since_unix_s:
                _count(seen, record)
    return seen


def _count(seen: dict[str, TargetTraffic], record: dict[str, Any]) -> None:
    target = record.get("upstream_model")
    if isinstance(target, str):  # else it ended before it was routed
        one = seen.setdefault(target, TargetTraffic())
        one.requests += 1
        one.failed += int(record.get("status", 500)) >= 500 or record.get("outcome") == "model_not_found"
        one.seconds.append(float(record.get("total_ms", 0.0)) / 1e3)
