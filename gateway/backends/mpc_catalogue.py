"""A catalogue with one model more: the one that the MPC parties run on shares."""

from __future__ import annotations

from gateway.errors import BadRequest
from gateway.exchange import Api, Json, ServedModel
from gateway.ports import ModelCatalogue

SERVED: frozenset[Api] = frozenset(("chat.completions", "completions", "mpc.relay"))


class WithMpc:
    """`name` is the secret-shared model; every other name is the business of `models`."""

    def __init__(self, models: ModelCatalogue, name: str) -> None:
        self._models = models
        self._name = name

    async def find(self, name: str, api: Api) -> ServedModel:
        """Raises BadRequest for an API that secret-shared inference does not serve, UnknownModel, UpstreamFailed."""
        if name != self._name:
            if api == "mpc.relay":
                raise BadRequest("Only the secret-shared model takes blind requests.", param="model")
            return await self._models.find(name, api)
        if api not in SERVED:
            raise BadRequest("This model runs on secret shares, which serve chat completions and completions only.", param="model")
        return ServedModel(name, name, "mpc")

    async def listing(self, api: Api | None = None) -> list[Json]:
        """The other models, then this one where it serves `api`."""
        own = [{"id": self._name, "object": "model", "created": 0, "owned_by": "llmos"}] if api is None or api in SERVED else []
        return [*await self._models.listing(api), *own]
