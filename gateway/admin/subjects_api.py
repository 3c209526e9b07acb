"""The part of the admin API about tenants and about the persons whose data passes: erasure, and the record of processing.

Annotations are evaluated here (no `from __future__`): FastAPI reads them.
"""

import datetime
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

from gateway.access.roles import Permission
from gateway.admin.keys import put_tenant
from gateway.admin.parts import AdminParts
from gateway.admin.privacy import erase_conversation, erase_tenant, record_of_processing
from gateway.errors import BadRequest, Unavailable
from gateway.exchange import Principal
from gateway.stores.tenants import Tenant


class TenantBody(BaseModel):
    """Whether recall floors bind the tenant's policies. Where its labelled file lies is said on the gateway's machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    production: bool


class ErasureBody(BaseModel):
    """A tenant, and of it one conversation where one is named: the header that the caller sent, and the key that it used."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    tenant: Annotated[str, Field(min_length=1, max_length=100)]
    conversation: Annotated[str, Field(max_length=256)] | None = None
    key_id: str | None = None


def add_subjects(app: FastAPI, parts: Callable[[], AdminParts], allowed: Callable[[Permission], Any]) -> None:
    """Add the endpoints; `allowed` makes the dependency that signs in and asks for a permission."""
    Parts = Annotated[AdminParts, Depends(parts)]  # noqa: N806 - a type
    P = Permission  # noqa: N806 - a type

    @app.get("/tenants", tags=["tenants"], dependencies=[allowed(P.READ_KEYS)])
    async def tenants(parts: Parts) -> dict[str, Any]:
        """Tenants of which more than their keys is known."""
        listed = await parts.tenants.all()
        return {"data": [{"name": t.name, "production": t.production, "has_labelled_file": t.labelled_file is not None} for t in listed]}

    @app.put("/tenants/{name}", tags=["tenants"])
    async def change_tenant(name: str, body: TenantBody, parts: Parts, who: Annotated[Principal, allowed(P.WRITE_KEYS)]) -> dict[str, Any]:
        """Say whether a tenant is in production. Refused where a policy that serves it has a recall floor that it misses."""
        labelled = next((tenant.labelled_file for tenant in await parts.tenants.all() if tenant.name == name), None)
        await put_tenant(parts, who, Tenant(name, body.production, labelled))
        return {"name": name, "production": body.production, "has_labelled_file": labelled is not None}

    @app.post("/privacy/erase", tags=["privacy"])
    async def erase(body: ErasureBody, parts: Parts, who: Annotated[Principal, allowed(P.ERASE)]) -> dict[str, Any]:
        """Destroy a conversation's key and values, or all of a tenant's, in the store and in its append-only file."""
        if (body.conversation is None) != (body.key_id is None):
            raise BadRequest("`conversation` and `key_id` go together.", param="conversation")
        if body.conversation is None or body.key_id is None:
            erased = await erase_tenant(parts, who, body.tenant)
        else:
            if parts.conversation_key is None:
                raise Unavailable("Conversations are erased by a running gateway.")
            erased = await erase_conversation(
                parts, who, tenant=body.tenant, key_id=body.key_id, header=body.conversation, conversation_key=parts.conversation_key
            )
        return {"conversations": erased.conversations, "file_rewritten": erased.compacted}

    @app.get("/privacy/report", tags=["privacy"], dependencies=[allowed(P.READ_AUDIT)], response_class=PlainTextResponse)
    async def report(tenant: str, parts: Parts) -> PlainTextResponse:
        """The record of processing (GDPR Art. 30, PIPL Art. 54 to 56) as Markdown."""
        text = await record_of_processing(parts, tenant, datetime.datetime.now(datetime.UTC))
        return PlainTextResponse(text, media_type="text/markdown")
