"""Model aliases: a stable name for callers, the served model behind it, the share that a canary gets, and the way back.

Each replica keeps a copy that is at most a second old, so that a promotion or a rollback acts everywhere at once and a
request that has begun keeps its model. The draw is made for each request, from the operating system's randomness. It
does not load or unload models, and it does not check that a target is served: the catalogue does, request by request.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import asdict, dataclass
from typing import Any

from redis.asyncio import Redis

from gateway.errors import BadRequest, EditConflict, NotFound
from gateway.stores.failures import reaching

ALIASES = "llmos:aliases"
MAX_AGE_S = 1.0

_SWAP = """
if redis.call('hget', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('hset', KEYS[1], ARGV[1], ARGV[3])
return 1
"""


@dataclass(frozen=True, slots=True)
class Alias:
    """`canary_fraction` (0 to 1) of the requests for `name` go to `canary_target`, the others to `target`.

    `previous` is the target before, which still is loaded: what a rollback goes back to.
    """

    name: str
    target: str
    canary_target: str | None = None
    canary_fraction: float = 0.0
    previous: str | None = None

    def draw(self) -> str:
        """The target of one request."""
        if self.canary_target is None:
            return self.target
        return self.canary_target if secrets.randbelow(1_000_000) < self.canary_fraction * 1_000_000 else self.target


class ValkeyAliases:
    """Aliases by name."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._known: dict[str, Alias] = {}
        self._read_at = float("-inf")

    async def find(self, name: str) -> Alias | None:
        """The alias of this name, at most MAX_AGE_S old. Raises StoreUnavailable."""
        if time.monotonic() - self._read_at > MAX_AGE_S:
            await self.all()
        return self._known.get(name)

    async def all(self) -> list[Alias]:
        """By name. Raises StoreUnavailable."""
        began = time.monotonic()
        with reaching("read the model aliases"):
            raw: Any = await self._redis.hgetall(ALIASES)
        self._known = {alias.name: alias for alias in (Alias(**json.loads(entry)) for entry in raw.values())}
        self._read_at = began
        return sorted(self._known.values(), key=lambda alias: alias.name)

    async def put(self, alias: Alias) -> None:
        """Raises StoreUnavailable."""
        with reaching("write a model alias"):
            await self._redis.hset(ALIASES, alias.name, json.dumps(asdict(alias)))
        self._read_at = float("-inf")

    async def roll_back(self, name: str, from_target: str) -> Alias:
        """Point the alias at its previous target, if it still points at `from_target`; ends a canary. Returns the alias.

        Raises NotFound, BadRequest (no way back), EditConflict (it points elsewhere by now), StoreUnavailable.
        """
        with reaching("read a model alias"):
            raw: Any = await self._redis.hget(ALIASES, name)
        if raw is None:
            raise NotFound(f"There is no alias {name!r}.")
        seen = Alias(**json.loads(raw))
        if seen.target != from_target:
            raise EditConflict(f"The alias points at {seen.target!r} by now; look again.", param="target")
        if seen.previous is None:
            raise BadRequest("There is no earlier model to go back to.", param="target")
        back = Alias(name, seen.previous)
        with reaching("write a model alias"):
            swapped: Any = await self._redis.eval(_SWAP, 1, ALIASES, name, raw, json.dumps(asdict(back)))
        self._read_at = float("-inf")
        if not swapped:
            raise EditConflict("The alias was changed at the same moment; look again.", param="target")
        return back

    async def remove(self, name: str) -> None:
        """Raises NotFound, StoreUnavailable."""
        with reaching("remove a model alias"):
            removed = await self._redis.hdel(ALIASES, name)
        self._read_at = float("-inf")
        if not removed:
            raise NotFound(f"There is no alias {name!r}.")
