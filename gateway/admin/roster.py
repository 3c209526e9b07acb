"""What is done with a tenant's roster: each act stands in the audit, with figures and never a name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.admin.acting import acting
from gateway.admin.parts import AdminParts
from gateway.errors import BadRequest, StoreUnavailable
from gateway.exchange import Principal
from gateway.pii.roster.current import Stored
from gateway.pii.roster.index import Contents, DamagedRoster, IndexBuilder, RosterIndex
from gateway.pii.roster.people import Person, RosterError


@dataclass(frozen=True, slots=True)
class RosterStatus:
    """What serves: the store's figures and the index's own. `refused` is known right after a load only."""

    stored: Stored
    contents: Contents
    refused: int = 0


async def load_roster(parts: AdminParts, who: Principal, tenant: str, people: Iterable[Person], *, add: bool = False) -> RosterStatus:
    """Put these people in force, instead of those that serve, or besides them. The work is done before anything changes.

    Raises BadRequest for a file that can't be used, StoreUnavailable.
    """
    builder = IndexBuilder(parts.rosters.term_key(tenant))
    if add:
        serving = await parts.rosters.bytes_of(tenant)
        if serving is not None:
            builder.add_index(_index(serving))
    try:
        for person in people:
            builder.add(person)
    except RosterError as error:
        raise BadRequest(str(error), param="people") from None
    data = builder.finish()
    contents = _index(data).contents
    async with acting(parts, who, "roster.load", target=tenant, people=contents.people):
        return RosterStatus(await parts.rosters.put(tenant, data, people=contents.people), contents, builder.refused)


async def roster_status(parts: AdminParts, tenant: str) -> RosterStatus | None:
    """What serves, read whole and verified; None where the tenant has no roster. Raises StoreUnavailable."""
    stored = await parts.rosters.status(tenant)
    data = await parts.rosters.bytes_of(tenant) if stored is not None else None
    return None if stored is None or data is None else RosterStatus(stored, _index(data).contents)


async def clear_roster(parts: AdminParts, who: Principal, tenant: str) -> bool:
    """Take the roster away; whether there was one. Raises StoreUnavailable."""
    async with acting(parts, who, "roster.clear", target=tenant):
        return await parts.rosters.clear(tenant)


def _index(data: bytes) -> RosterIndex:
    try:
        return RosterIndex(data)
    except DamagedRoster:
        raise StoreUnavailable("The roster in the store has another format; load it again with `llmos roster load`.") from None
