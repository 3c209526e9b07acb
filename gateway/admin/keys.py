"""What is done with keys and tenants: each act stands in the audit before it is done."""

from __future__ import annotations

from gateway.access.api_keys import NewKey
from gateway.access.roles import require_manages
from gateway.admin.acting import acting
from gateway.admin.parts import AdminParts
from gateway.admin.recall import check_tenant
from gateway.audit.content_free import carries
from gateway.errors import BadRequest, InvalidPolicy
from gateway.exchange import Principal
from gateway.stores.keys import KeyRecord
from gateway.stores.tenants import Tenant
from policies.schema import Limits

MAX_TENANT_CHARS = 100


async def create_key(
    parts: AdminParts,
    who: Principal,
    *,
    tenant: str,
    role: str,
    label: str = "",
    models: tuple[str, ...] = (),
    policies: tuple[str, ...] = (),
    limits: Limits | None = None,
    lifetime_s: float | None = None,
) -> NewKey:
    """Raises BadRequest, Forbidden for a role that may more than the maker's, StoreUnavailable."""
    _check_tenant_name(tenant)
    async with acting(parts, who, "key.create", target=tenant, key_role=role) as learned:
        require_manages(who, role)
        key = await parts.keys.create(
            tenant=tenant,
            role=role,
            label=label,
            created_by=who.key_id,
            models=models,
            policies=policies,
            limits=limits,
            lifetime_s=lifetime_s,
        )
        learned["key_id"] = key.key_id
    return key


async def rotate_key(parts: AdminParts, who: Principal, key_id: str, *, overlap_s: float) -> NewKey:
    """Raises NotFound, BadRequest, Forbidden, StoreUnavailable."""
    record = await parts.keys.get(key_id)
    async with acting(parts, who, "key.rotate", target=record.tenant, key_id=key_id):
        require_manages(who, record.role)  # its new text is shown: who may not make such a key may not see one
        return await parts.keys.rotate(key_id, overlap_s=overlap_s)


async def revoke_key(parts: AdminParts, who: Principal, key_id: str) -> KeyRecord:
    """Raises NotFound, Forbidden, StoreUnavailable."""
    record = await parts.keys.get(key_id)
    async with acting(parts, who, "key.revoke", target=record.tenant, key_id=key_id):
        require_manages(who, record.role)
        return await parts.keys.revoke(key_id)


async def put_tenant(parts: AdminParts, who: Principal, tenant: Tenant) -> None:
    """Raises BadRequest, StoreUnavailable, and InvalidPolicy where a policy that serves it now has a floor that it misses."""
    _check_tenant_name(tenant.name)
    async with acting(parts, who, "tenant.put", target=tenant.name, production=tenant.production):
        floors = [entry.policy for entry in await parts.policies.all() if entry.policy.recall_floor.asks]
        for policy in floors if tenant.production else ():
            if parts.dry_run is None:
                raise InvalidPolicy("A policy with a recall floor serves here; that needs a detector.", param="recall_floor")
            await check_tenant(parts.dry_run.detector, policy, tenant)
        await parts.tenants.put(tenant)


def _check_tenant_name(name: str) -> None:
    """The audit knows a tenant by its name, so it must be one that the audit can carry."""
    if not name or len(name) > MAX_TENANT_CHARS or name == "-" or not carries("tenant", name):
        raise BadRequest(
            "A tenant's name is 1 to 100 letters, digits and . _ : / + = - (no spaces, no e-mail address, no long number), and not `-`: "
            "it stands in the audit.",
            param="tenant",
        )
