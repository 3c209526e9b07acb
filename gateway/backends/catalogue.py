"""The model names that the gateway serves: those that its servers list, and those that its operator names.

A client's model name is looked up here and never passed on otherwise: vLLM's file-system resolver for adapters joins a name to a path.
The listing is asked for again after `REFRESH_S`, and at most once a second for a name that is not in it (an adapter may just have been
loaded). While a server can't be asked, the last listing stands. It does not load or unload models.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from gateway.backends.openai_http import OpenAIServer
from gateway.errors import LlmosError, UnknownModel
from gateway.exchange import Api, Json, ServedModel

REFRESH_S = 30.0
_ON_MISS_S = 1.0
_NEVER = float("-inf")


class _Listing:
    """One server's models, asked for by one task at a time."""

    def __init__(self, server: OpenAIServer, named: Sequence[str]) -> None:
        self._server = server
        self._named = tuple(named)
        self._models: dict[str, Json] = {}
        self._asked_s = _NEVER
        self._lock = asyncio.Lock()

    def get(self, name: str) -> ServedModel | None:
        model = self._models.get(name)
        if model is None and name not in self._named:
            return None
        is_vllm = any(each.get("owned_by") == "vllm" for each in self._models.values())
        return ServedModel(name, name, "vllm", takes_cache_salt=is_vllm)

    async def fresh(self, max_age_s: float) -> None:
        """Ask the server unless it was asked within `max_age_s`. Raises the server's failure only if nothing is known yet."""
        if time.monotonic() - self._asked_s < max_age_s:
            return
        async with self._lock:
            if time.monotonic() - self._asked_s < max_age_s:
                return
            try:
                self._models = {each["id"]: each for each in await self._server.models()}
            except LlmosError:
                if not self._models and not self._named:
                    raise
            finally:
                self._asked_s = time.monotonic() if self._models or self._named else _NEVER

    def objects(self) -> list[Json]:
        known = {
            name: {"id": name, "object": "model", "created": each.get("created", 0), "owned_by": each.get("owned_by", "llmos")}
            for name, each in self._models.items()
        }
        for name in self._named:
            known.setdefault(name, {"id": name, "object": "model", "created": 0, "owned_by": "llmos"})
        return list(known.values())


class Catalogue:
    """Model names over the generating server and, where there is one, the embedding server."""

    def __init__(self, generating: OpenAIServer, embedding: OpenAIServer | None, named: Sequence[str]) -> None:
        self._generating = _Listing(generating, named)
        self._embedding = None if embedding is None else _Listing(embedding, ())

    async def find(self, name: str, api: Api) -> ServedModel:
        """The model of this name. Raises UnknownModel, or the server's failure while none is known."""
        listing = self._embedding if api == "embeddings" else self._generating
        if listing is None:
            raise UnknownModel("No embedding model is configured here; an operator can set LLMOS_EMBEDDINGS_UPSTREAM.", param="model")
        await listing.fresh(REFRESH_S)
        found = listing.get(name)
        if found is None:
            await listing.fresh(_ON_MISS_S)
            found = listing.get(name)
        if found is None:
            raise UnknownModel("No model of this name is served here.", param="model")
        return found

    async def listing(self, api: Api | None = None) -> list[Json]:
        """One OpenAI `model` object a name: of every name, or of those that `api` takes."""
        if api == "mpc.relay":  # blind requests are the secret-shared model's
            return []
        asked = [self._embedding] if api == "embeddings" else [self._generating] if api else [self._generating, self._embedding]
        listings = [each for each in asked if each is not None]
        for listing in listings:
            await listing.fresh(REFRESH_S)
        return [each for listing in listings for each in listing.objects()]
