"""What is done with keys and tenants: each act stands in the audit before it is done."""

from __future__ import annotations

from gateway.access.api_keys import NewKey
from gateway.admin.parts import AdminParts
from gateway.errors import BadRequest
from gateway.stores.tenants import Tenant
from policies.schema import Limits


async def create_key(
    parts: AdminParts,
    actor: str,
    *,
    tenant: str,
    role: str,
    label: str = "",
    models: tuple[str, ...] = (),
    policies: tuple[str, ...] = (),
    limits: Limits | None = None,
    lifetime_s: float | None = None,
) -> NewKey:
    """Raises BadRequest, StoreUnavailable."""
    if not tenant or len(tenant) > 100 or tenant == "-":
        raise BadRequest("A tenant's name has 1 to 100 characters, and is not `-`.", param="tenant")
    await parts.audit.admin({"action": "key.create", "actor": actor, "target": tenant, "role": role})
    return await parts.keys.create(
        tenant=tenant,
        role=role,
        label=label,
        created_by=actor,
        models=models,
        policies=policies,
        limits=limits,
        lifetime_s=lifetime_s,
    )


async def rotate_key(parts: AdminParts, actor: str, key_id: str, *, overlap_s: float) -> NewKey:
    """Raises NotFound, BadRequest, StoreUnavailable."""
    record = await parts.keys.get(key_id)
    await parts.audit.admin({"action": "key.rotate", "actor": actor, "target": record.tenant, "key_id": key_id})
    return await parts.keys.rotate(key_id, overlap_s=overlap_s)


async def revoke_key(parts: AdminParts, actor: str, key_id: str) -> None:
    """Raises NotFound, StoreUnavailable."""
    record = await parts.keys.get(key_id)
    await parts.audit.admin({"action": "key.revoke", "actor": actor, "target": record.tenant, "key_id": key_id})
    await parts.keys.revoke(key_id)


async def put_tenant(parts: AdminParts, actor: str, tenant: Tenant) -> None:
    """Raises StoreUnavailable."""
    await parts.audit.admin({"action": "tenant.put", "actor": actor, "target": tenant.name})
    await parts.tenants.put(tenant)
