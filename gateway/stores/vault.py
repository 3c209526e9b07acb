"""The vault's records in Redis or Valkey: one hash a conversation, settled by one script call.

Fields of the hash `llmos:vault:<entry>`: `k` the wrapped key; `v` + field id a sealed record; `t` + token hash the field that has
the token. The script is atomic, so two clients never give one token to two values. The entry lives for the policy's
retention after its last use. It does NOT see plaintext: see gateway.pii.vault for what the bytes are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.errors import StoreUnavailable
from gateway.pii.vault import Claim, Settled

_SETTLE = """
-- KEYS[1] the conversation; ARGV: wrapped key, ttl in seconds, whether the key stood here before (0 or 1),
-- then for each claim: field, again (0 or 1), own, count, (hash, record) * count
local standing = redis.call('HGET', KEYS[1], 'k')
if standing and standing ~= ARGV[1] then return {standing} end
if not standing and ARGV[3] == '1' then return {''} end  -- erased or expired: its key may not come back
if not standing then redis.call('HSET', KEYS[1], 'k', ARGV[1]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
local answers, at = {false}, 4
while at <= #ARGV do
  local field, again, own, count = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  at = at + 4
  local record = again == '0' and redis.call('HGET', KEYS[1], 'v' .. field)
  if not record and own ~= '' and redis.call('HEXISTS', KEYS[1], 't' .. own) == 1 then record = '' end
  if not record then
    for candidate = 0, count - 1 do
      local taken = 't' .. ARGV[at + 2 * candidate]
      local owner = redis.call('HGET', KEYS[1], taken)
      if not owner or owner == field then
        record = ARGV[at + 2 * candidate + 1]
        redis.call('HSET', KEYS[1], taken, field, 'v' .. field, record)
        break
      end
    end
  end
  answers[#answers + 1] = record
  at = at + 2 * count
end
return answers
"""

_REWRAP = """
if redis.call('HGET', KEYS[1], 'k') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'k', ARGV[2])
return 1
"""


class RedisVaultStore:
    """Implements gateway.pii.vault.VaultStore. `client` must not decode responses."""

    def __init__(self, client: Redis, *, prefix: str = "llmos:vault:") -> None:
        self._client = client
        self._prefix = prefix
        self._settle = client.register_script(_SETTLE)
        self._rewrap = client.register_script(_REWRAP)

    async def settle(self, conversation: str, wrapped_key: bytes, claims: Sequence[Claim], ttl_s: int, stood: bool) -> Settled:
        arguments: list[bytes | int] = [wrapped_key, ttl_s, int(stood)]
        for claim in claims:
            arguments += (claim.field, int(claim.again), claim.own, len(claim.candidates))
            for pair in claim.candidates:
                arguments += pair
        answer = await self._run(self._settle, conversation, arguments)
        if answer[0] is not None:
            return Settled(other_key=answer[0])
        return Settled(other_key=None, records=tuple(answer[1:]))

    async def records(self, conversation: str) -> tuple[bytes | None, Mapping[bytes, bytes]]:
        try:
            stored = cast(Mapping[bytes, bytes], await self._client.hgetall(self._prefix + conversation))
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error
        return stored.get(b"k"), {name[1:]: value for name, value in stored.items() if name[:1] == b"v"}

    async def rewrap(self, conversation: str, old_key: bytes, new_key: bytes) -> bool:
        return bool(await self._run(self._rewrap, conversation, [old_key, new_key]))

    async def wrapped_keys(self) -> AsyncIterator[tuple[str, bytes]]:
        """Each conversation's entry and its wrapped key. Raises StoreUnavailable."""
        try:
            async for name in self._client.scan_iter(match=f"{self._prefix}*", count=500, _type="hash"):
                wrapped = await cast(Any, self._client.hget(name, "k"))
                if wrapped is not None:
                    yield name.decode().removeprefix(self._prefix), wrapped
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

    async def delete(self, conversation: str) -> bool:
        try:
            return bool(await self._client.delete(self._prefix + conversation))
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

    async def delete_all(self, beginning: str) -> int:
        deleted = 0
        try:
            async for name in self._client.scan_iter(match=f"{self._prefix}{beginning}*", count=1000):
                deleted += await self._client.delete(name)
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error
        return deleted

    async def compact(self, timeout_s: float = 60.0) -> bool:
        """Rewrite the append-only file, so that deleted entries leave the disk. False where the server has none or did not finish."""
        try:
            if (await self._client.info("persistence")).get("aof_enabled") != 1:
                return False
            await self._client.bgrewriteaof()
            deadline = time.monotonic() + timeout_s
            while time.monotonic() < deadline:
                await asyncio.sleep(0.05)
                state = await self._client.info("persistence")
                if not state["aof_rewrite_in_progress"] and not state["aof_rewrite_scheduled"]:
                    return bool(state["aof_last_bgrewrite_status"] == "ok")
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error
        return False

    async def _run(self, script: Any, conversation: str, arguments: Sequence[bytes | int]) -> Any:
        try:
            return await script(keys=[self._prefix + conversation], args=arguments)
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error


def _unavailable(error: Exception) -> StoreUnavailable:
    reason = error.__class__.__name__
    return StoreUnavailable(f"the vault's store can't be reached ({reason}); nothing was sent upstream", retry_after_s=1.0)
