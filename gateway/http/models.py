"""GET /v1/models: the names that a caller may ask for.

It lists what the gateway serves, not what each policy allows; a name that a policy refuses is refused when it is used. Nothing of a
caller's data passes here, so only refusals stand in the audit.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from gateway.errors import LlmosError, TooManyAttempts, UnknownModel
from gateway.exchange import Json
from gateway.http.edge import REQUEST_ID
from gateway.pipeline import Parts
from gateway.stages.authenticate import authenticate

router = APIRouter(tags=["models"])


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """All models."""
    return {"object": "list", "data": await _listing(request)}


@router.get("/v1/models/{name:path}")
async def model(request: Request, name: str) -> Json:
    """One model. Raises UnknownModel."""
    for each in await _listing(request):
        if each["id"] == name:
            return each
    raise UnknownModel("No model of this name is served here; GET /v1/models lists those that are.", param="model")


async def _listing(request: Request) -> list[Json]:
    parts: Parts = request.app.state.parts
    peer = request.client.host if request.client else ""
    try:
        await authenticate(request.headers.get("authorization"), peer, parts.keys, parts.attempts)
    except LlmosError as refused:
        if not isinstance(refused, TooManyAttempts) or refused.deserves_a_record:
            about = {"request_id": request.scope.get(REQUEST_ID, ""), "api": "models"}
            await parts.audit.outcome({**about, "outcome": refused.code, "status": refused.status})
        raise
    return await parts.catalogue.listing()
