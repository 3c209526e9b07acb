"""GET /v1/models: the names that a caller may ask for.

It lists what the gateway serves, not what each policy allows; a name that a policy refuses is refused when it is used.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from gateway.errors import UnknownModel
from gateway.exchange import Json
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
    await authenticate(request.headers.get("authorization"), parts.keys)
    return await parts.catalogue.listing()
