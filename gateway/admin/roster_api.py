"""The part of the admin API about rosters: who serves, load, clear. What is sent is hashed and forgotten.

For a file of many people `llmos roster load` is the better way. Annotations are evaluated here (no `from __future__`): FastAPI reads them.
"""

import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict, Field

from gateway.access.roles import Permission
from gateway.admin.parts import AdminParts
from gateway.admin.roster import RosterStatus, clear_roster, load_roster, roster_status
from gateway.errors import NotFound
from gateway.exchange import Principal
from gateway.pii.roster.people import read_people

MAX_PEOPLE = 2_000  # a call: they are hashed on the event loop, in about a tenth of a second


class RosterBody(BaseModel):
    """People as in a line of `llmos roster load`: {"name": …, "aliases": […], "phone": …, "numbers": {"MEDICAL_RECORD": …}}."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    tenant: Annotated[str, Field(min_length=1, max_length=100)]
    people: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MAX_PEOPLE)] = Field(repr=False)
    add: bool = False


def add_rosters(app: FastAPI, parts: Callable[[], AdminParts], allowed: Callable[[Permission], Any]) -> None:
    """Add the endpoints; `allowed` makes the dependency that signs in and asks for a permission."""
    Parts = Annotated[AdminParts, Depends(parts)]  # noqa: N806 - a type
    P = Permission  # noqa: N806 - a type

    @app.get("/roster", tags=["tenants"], dependencies=[allowed(P.READ_KEYS)])
    async def get_roster(tenant: str, parts: Parts) -> dict[str, Any]:
        """How many people a tenant's roster holds, and since when. It holds no name."""
        status = await roster_status(parts, tenant)
        if status is None:
            raise NotFound("The tenant has no roster.")
        return _status_json(status)

    @app.put("/roster", tags=["tenants"])
    async def put_roster(body: RosterBody, parts: Parts, who: Annotated[Principal, allowed(P.WRITE_KEYS)]) -> dict[str, Any]:
        """Put these people in force instead of those that serve, or with `add` besides them."""
        lines = (json.dumps(person) for person in body.people)
        return _status_json(await load_roster(parts, who, body.tenant, read_people(lines), add=body.add))

    @app.delete("/roster", tags=["tenants"], status_code=204)
    async def delete_roster(tenant: str, parts: Parts, who: Annotated[Principal, allowed(P.WRITE_KEYS)]) -> None:
        """Take a tenant's roster away."""
        if not await clear_roster(parts, who, tenant):
            raise NotFound("The tenant has no roster.")


def _status_json(status: RosterStatus) -> dict[str, Any]:
    return {
        "people": status.contents.people,
        "terms": dict(status.contents.terms),
        "loaded_unix_s": status.stored.loaded_unix_s,
        "size_bytes": status.stored.size_bytes,
        "left_out": status.refused,
    }
