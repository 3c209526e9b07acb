"""A catalogue in which a name may be an alias: the model behind it is drawn for each request.

The caller keeps seeing the alias. A draw that lands on a canary which is not served falls back to the alias's target, so
that a canary that went away refuses nobody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from gateway.errors import UnknownModel
from gateway.exchange import Api, Json, ServedModel
from gateway.ports import ModelCatalogue


class Drawn(Protocol):
    """An alias, as `gateway.stores.aliases` keeps it."""

    @property
    def name(self) -> str: ...

    @property
    def target(self) -> str: ...

    def draw(self) -> str: ...


class AliasedCatalogue:
    """`alias_of` gives the alias of a name, or None."""

    def __init__(self, models: ModelCatalogue, alias_of: Callable[[str], Awaitable[Drawn | None]]) -> None:
        self._models = models
        self._alias_of = alias_of

    async def find(self, name: str, api: Api) -> ServedModel:
        """Raises UnknownModel, UpstreamFailed, StoreUnavailable."""
        alias = await self._alias_of(name)
        if alias is None:
            return await self._models.find(name, api)
        drawn = alias.draw()
        try:
            served = await self._models.find(drawn, api)
        except UnknownModel:
            if drawn == alias.target:
                raise
            served = await self._models.find(alias.target, api)
        return replace(served, name=name)

    async def listing(self, api: Api | None = None) -> list[Json]:
        """The served models; an alias to one of another name is listed by the server's own names only."""
        return await self._models.listing(api)
