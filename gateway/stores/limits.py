"""Rate limits by the generic cell rate algorithm, in the store, so that they hold across replicas.

Each limit is one number, the theoretical arrival time (TAT): a bucket of a minute's worth that refills steadily (ITU-T
I.371, the virtual scheduling form). With T = 60 s / limit the time of one unit, taking n units moves TAT to
max(TAT, now) + n·T, which is allowed while it stays within 60 s of now. One Lua script checks all limits of a request
(requests, tokens and streams, of the key and of the tenant) by the store's clock and takes all of them or none: one
round trip, and no replica's clock matters.

Tokens are reserved before inference and settled after: what was reserved and not used comes back, what was used beyond
it is a debt that the next request waits for. A stream holds a lease that ends by itself if its gateway dies.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from redis.asyncio import Redis

from gateway.errors import RateLimited
from gateway.exchange import Principal
from gateway.stores.failures import reaching
from policies.schema import Limits, Policy

# KEYS: one per limit. ARGV: lease id, lease ms, then for each limit its kind (rate, streams), its bound and its cost.
# Returns the index of the limit that refuses (0: none), ms to wait, then remaining and reset ms for each limit.
_TAKE = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + tonumber(clock[2]) / 1000
local window, found, refused, wait = 60000, {}, 0, 0
for i = 1, #KEYS do
  local kind, bound, cost = ARGV[3 * i], tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
  if kind == 'streams' then
    redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now)
    local used = redis.call('ZCARD', KEYS[i])
    found[i] = {used, bound - used - cost, 0}
    if used + cost > bound and refused == 0 then
      local first = redis.call('ZRANGE', KEYS[i], 0, 0, 'WITHSCORES')
      refused, wait = i, math.min(1000, tonumber(first[2] or now) - now)
    end
  else
    local unit = window / bound
    local tat = math.max(tonumber(redis.call('GET', KEYS[i]) or now), now)
    local after = tat + math.min(cost, bound) * unit
    found[i] = {after, math.floor((now + window - after) / unit + 1e-6), after - now}
    if after - now > window + 0.5 and refused == 0 then
      refused, wait = i, after - now - window
      found[i][2] = math.max(0, math.floor((now + window - tat) / unit + 1e-6))
      found[i][3] = tat - now
    end
  end
end
if refused == 0 then
  for i = 1, #KEYS do
    if ARGV[3 * i] == 'streams' then
      redis.call('ZADD', KEYS[i], now + tonumber(ARGV[2]), ARGV[1])
      redis.call('PEXPIRE', KEYS[i], ARGV[2])
    else
      redis.call('SET', KEYS[i], string.format('%.3f', found[i][1]), 'PX', math.ceil(found[i][1] - now) + 1)
    end
  end
end
local answer = {refused, math.ceil(wait)}
for i = 1, #KEYS do
  answer[#answer + 1] = math.max(0, found[i][2])
  answer[#answer + 1] = math.ceil(found[i][3])
end
return answer
"""

# KEYS: the token limits, then the stream sets. ARGV: count of token limits, lease id, then bound and correction of each.
_SETTLE = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + tonumber(clock[2]) / 1000
local count = tonumber(ARGV[1])
for i = 1, count do
  local shift = tonumber(ARGV[2 * i + 2]) * 60000 / tonumber(ARGV[2 * i + 1])
  local tat = math.max(tonumber(redis.call('GET', KEYS[i]) or now), now) + shift
  if tat > now then
    redis.call('SET', KEYS[i], string.format('%.3f', tat), 'PX', math.ceil(tat - now) + 1)
  else
    redis.call('DEL', KEYS[i])
  end
end
for i = count + 1, #KEYS do redis.call('ZREM', KEYS[i], ARGV[2]) end
return 0
"""


@dataclass(frozen=True, slots=True)
class _Limit:
    """One bound of one subject: `unit` is requests, tokens or streams."""

    key: str
    unit: str
    bound: int
    cost: int


@dataclass(frozen=True, slots=True)
class Lease:
    """What a request took; hand it to `settle` once, whatever happened."""

    id: str
    limits: tuple[_Limit, ...] = field(repr=False)
    headers: Mapping[str, str]


class ValkeyLimits:
    """The limits of keys and tenants."""

    def __init__(self, redis: Redis, *, lease_s: float = 900.0) -> None:
        """`lease_s` is longer than any answer may take."""
        self._lease_ms = int(lease_s * 1000)
        self._take = redis.register_script(_TAKE)
        self._settle = redis.register_script(_SETTLE)

    async def take(self, principal: Principal, policy: Policy, *, tokens: int, stream: bool) -> Lease:
        """Count a request of about `tokens` tokens against every limit that binds it.

        Raises RateLimited, having taken nothing, or StoreUnavailable.
        """
        limits = _binding(principal, policy, tokens, stream)
        lease_id = secrets.token_hex(8)
        if not limits:
            return Lease(lease_id, (), {})
        arguments: list[str | int] = [lease_id, self._lease_ms]
        for limit in limits:
            arguments += ["streams" if limit.unit == "streams" else "rate", limit.bound, limit.cost]
        with reaching("check the limits"):
            answer: list[int] = await self._take(keys=[limit.key for limit in limits], args=arguments)
        refused, wait_ms = answer[0], answer[1]
        states = list(zip(limits, answer[2::2], answer[3::2], strict=True))
        headers = _headers(states)
        if refused:
            limit = limits[refused - 1]
            whose = "key" if ":key:" in limit.key else "tenant"
            raise RateLimited(
                f"The limit of this {whose}, {limit.bound} {limit.unit}{' at once' if limit.unit == 'streams' else ' a minute'}, "
                f"is reached. Try again in {wait_ms / 1000:.1f} s.",
                retry_after_s=max(wait_ms, 1) / 1000,
                headers=headers,
            )
        return Lease(lease_id, limits, headers)

    async def settle(self, lease: Lease, *, tokens: int) -> None:
        """Correct the reservation to the `tokens` used, and end the stream. Raises StoreUnavailable."""
        rates = [limit for limit in lease.limits if limit.unit == "tokens"]
        streams = [limit for limit in lease.limits if limit.unit == "streams"]
        if not rates and not streams:
            return
        arguments: list[str | int] = [len(rates), lease.id]
        for limit in rates:
            arguments += [limit.bound, tokens - min(limit.cost, limit.bound)]
        with reaching("settle the limits"):
            await self._settle(keys=[limit.key for limit in (*rates, *streams)], args=arguments)


def _binding(principal: Principal, policy: Policy, tokens: int, stream: bool) -> tuple[_Limit, ...]:
    """Every bound that holds: the policy's per key, the key's own (the stricter of the two), the tenant's."""
    found = []
    for subject, limits in (
        (f"key:{principal.key_id}", _stricter(policy.limits, principal.limits)),
        (f"tenant:{principal.tenant}", policy.tenant_limits),
    ):
        prefix = f"llmos:{{limits:{principal.tenant}}}:{subject}"
        if limits.requests_per_minute is not None:
            found.append(_Limit(f"{prefix}:requests", "requests", limits.requests_per_minute, 1))
        if limits.tokens_per_minute is not None:
            found.append(_Limit(f"{prefix}:tokens", "tokens", limits.tokens_per_minute, tokens))
        if limits.concurrent_streams is not None and stream:
            found.append(_Limit(f"{prefix}:streams", "streams", limits.concurrent_streams, 1))
    return tuple(found)


def _stricter(one: Limits, two: Limits) -> Limits:
    bounds = {}
    for name in Limits.model_fields:
        values = [value for value in (getattr(one, name), getattr(two, name)) if value is not None]
        bounds[name] = min(values, default=None)
    return Limits(**bounds)


def _headers(states: list[tuple[_Limit, int, int]]) -> dict[str, str]:
    """OpenAI's x-ratelimit-* headers, of the tighter limit where key and tenant both have one."""
    headers: dict[str, str] = {}
    for unit in ("requests", "tokens"):
        of_unit = [(remaining, limit.bound, reset_ms) for limit, remaining, reset_ms in states if limit.unit == unit]
        if of_unit:
            remaining, bound, reset_ms = min(of_unit)
            headers[f"x-ratelimit-limit-{unit}"] = str(bound)
            headers[f"x-ratelimit-remaining-{unit}"] = str(remaining)
            headers[f"x-ratelimit-reset-{unit}"] = f"{reset_ms / 1000:.3f}s" if reset_ms >= 1000 else f"{reset_ms}ms"
    return headers
