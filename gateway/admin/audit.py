"""Verify and export a tenant's log, for the commands, the admin API and the console."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from gateway.admin.parts import AdminParts
from gateway.audit.chain import first_digest
from gateway.audit.export import chain_line, head_lines, record_line
from gateway.audit.verify import Report, verify_log
from gateway.errors import NotFound


async def verify_tenant(parts: AdminParts, tenant: str, progress: Callable[[int], None] = lambda seq: None) -> Report:
    """Raises StoreUnavailable."""
    # the heads first: one that is signed while the records are read would name records that were not there yet
    heads = await parts.audit.heads(tenant)
    keys = parts.audit_keys
    return await verify_log(tenant, parts.audit.links(tenant), heads, keys.public, keys.tenant_key(tenant), progress)


async def export_lines(parts: AdminParts, tenant: str, first: int = 1) -> AsyncIterator[str]:
    """The lines of an export, up to a head that is signed now. Raises NotFound, StoreUnavailable."""
    head = await parts.audit.sign(tenant)
    if head is None or head.seq < first:
        raise NotFound(f"Tenant {tenant!r} has no audit record {first}.")
    previous = first_digest(tenant)
    if first > 1:
        async for link in parts.audit.links(tenant, first - 1, first - 1):
            previous = link.digest
    yield chain_line(tenant, first, previous)
    async for link in parts.audit.links(tenant, first, head.seq):
        yield record_line(link)
    for line in head_lines([each for each in await parts.audit.heads(tenant) if first <= each.seq <= head.seq]):
        yield line
