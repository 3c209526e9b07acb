"""Find audit records by what they say.

The log is read from its newest end, page by page, so recent records come at once and old ones take a scan.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import orjson

from gateway.stores.audit import ValkeyAudit


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a record must say; None is anything. Times are Unix seconds."""

    tenant: str | None = None
    request_id: str | None = None
    key_id: str | None = None
    kind: str | None = None
    outcome: str | None = None
    policy: str | None = None
    since_unix_s: float | None = None
    until_unix_s: float | None = None

    def fits(self, record: dict[str, Any]) -> bool:
        names = ("request_id", "key_id", "kind", "outcome", "policy")
        if any(getattr(self, name) is not None and record.get(name) != getattr(self, name) for name in names):
            return False
        unix_s = float(record.get("unix_s", 0.0))
        return (self.since_unix_s is None or unix_s >= self.since_unix_s) and (self.until_unix_s is None or unix_s <= self.until_unix_s)


async def newest(audit: ValkeyAudit, wanted: Wanted, limit: int) -> list[dict[str, Any]]:
    """The newest matching records over all tenants, at most `limit`. Raises StoreUnavailable."""
    found: list[dict[str, Any]] = []
    for tenant in [wanted.tenant] if wanted.tenant is not None else await audit.tenants():
        count = 0
        async for record in search(audit, replace(wanted, tenant=tenant)):
            found.append(record)
            count += 1
            if count == limit:
                break
    return sorted(found, key=lambda record: (float(record.get("unix_s", 0.0)), record["seq"]), reverse=True)[:limit]


SLACK_S = 3600.0  # records are in the order of their writing; a spooled one can be older than its place by the store's absence


async def search(audit: ValkeyAudit, wanted: Wanted) -> AsyncIterator[dict[str, Any]]:
    """Matching records, the newest first, tenant by tenant. Raises StoreUnavailable."""
    for tenant in [wanted.tenant] if wanted.tenant is not None else await audit.tenants():
        async for link in audit.newest(tenant):
            record = orjson.loads(link.record)
            if wanted.fits(record):
                yield record
            if wanted.since_unix_s is not None and float(record.get("unix_s", 0.0)) < wanted.since_unix_s - SLACK_S:
                break
