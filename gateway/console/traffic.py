"""Traffic and detected entities over the last hours, counted from the audit's outcome records."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from gateway.admin.search import Wanted, search
from gateway.stores.audit import ValkeyAudit

HOURS = 24
MAX_RECORDS = 20_000


@dataclass(slots=True)
class Traffic:
    """`by_hour[i]` counts what ended in the hour i hours ago, by served, refused (4xx) and failed."""

    by_hour: list[Counter[str]] = field(default_factory=lambda: [Counter() for _ in range(HOURS)])
    entities: Counter[tuple[str, str]] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    policies: Counter[str] = field(default_factory=Counter)
    records: int = 0
    complete: bool = True


async def traffic(audit: ValkeyAudit, now: float) -> Traffic:
    """At most MAX_RECORDS of the newest records. Raises StoreUnavailable."""
    seen = Traffic()
    async for record in search(audit, Wanted(kind="outcome", since_unix_s=now - HOURS * 3600)):
        if seen.records == MAX_RECORDS:
            seen.complete = False
            break
        seen.records += 1
        status = int(record.get("status", 500))
        kind = "served" if status < 400 else "refused" if status < 500 else "failed"
        hour = int((now - float(record["unix_s"])) // 3600)
        seen.by_hour[min(max(hour, 0), HOURS - 1)][kind] += 1
        seen.outcomes[str(record.get("outcome"))] += 1
        if record.get("policy"):
            seen.policies[str(record["policy"])] += 1
        for name, number in (record.get("counts") or {}).items():
            entity, _, action = name.partition(":")
            seen.entities[entity, action] += number
    return seen
