"""Limits in the store: exact counts across replicas, all or nothing, and a refill over a minute."""

from __future__ import annotations

import asyncio
import time

import pytest
from redis.asyncio import Redis

from gateway.errors import RateLimited
from gateway.exchange import Principal
from gateway.stores.limits import ValkeyLimits
from policies.schema import Limits, Policy

ALICE = Principal(tenant="acme", key_id="k1")
BOB = Principal(tenant="acme", key_id="k2")
EVE = Principal(tenant="other", key_id="k3")


def policy(limits: Limits | None = None, tenant_limits: Limits | None = None) -> Policy:
    return Policy(id="p", limits=limits or Limits(), tenant_limits=tenant_limits or Limits())


async def test_as_many_requests_pass_as_the_limit_says_across_replicas(redis: Redis) -> None:
    one, two = ValkeyLimits(redis), ValkeyLimits(redis)
    five = policy(Limits(requests_per_minute=5))
    takes = [store.take(ALICE, five, tokens=1, stream=False) for _ in range(10) for store in (one, two)]
    results = await asyncio.gather(*takes, return_exceptions=True)
    assert sum(not isinstance(result, BaseException) for result in results) == 5
    refusals = [result for result in results if isinstance(result, RateLimited)]
    assert len(refusals) == 15
    assert all(11 < (refusal.retry_after_s or 0) <= 12 for refusal in refusals)  # one unit of five a minute
    assert refusals[0].headers["x-ratelimit-remaining-requests"] == "0"


async def test_headers_count_down(redis: Redis) -> None:
    limits, bound = ValkeyLimits(redis), policy(Limits(requests_per_minute=60, tokens_per_minute=1000))
    first = (await limits.take(ALICE, bound, tokens=100, stream=False)).headers
    second = (await limits.take(ALICE, bound, tokens=100, stream=False)).headers
    assert first["x-ratelimit-limit-requests"] == "60"
    assert (first["x-ratelimit-remaining-requests"], second["x-ratelimit-remaining-requests"]) == ("59", "58")
    assert (first["x-ratelimit-remaining-tokens"], second["x-ratelimit-remaining-tokens"]) == ("900", "800")
    assert second["x-ratelimit-reset-tokens"].startswith(("11.9", "12.0"))


async def test_no_limit_costs_no_round_trip_and_gives_no_headers() -> None:
    unreachable = ValkeyLimits(Redis(unix_socket_path="/nowhere"))
    lease = await unreachable.take(ALICE, policy(), tokens=1, stream=True)
    assert lease.headers == {}
    await unreachable.settle(lease, tokens=1)


async def test_keys_of_a_tenant_share_its_limit_and_other_tenants_do_not(redis: Redis) -> None:
    limits, bound = ValkeyLimits(redis), policy(tenant_limits=Limits(requests_per_minute=2))
    await limits.take(ALICE, bound, tokens=1, stream=False)
    await limits.take(BOB, bound, tokens=1, stream=False)
    with pytest.raises(RateLimited, match="limit of this tenant"):
        await limits.take(ALICE, bound, tokens=1, stream=False)
    await limits.take(EVE, bound, tokens=1, stream=False)


async def test_the_keys_own_limit_and_the_policys_the_stricter_binds(redis: Redis) -> None:
    limits = ValkeyLimits(redis)
    own = Principal("acme", "k9", limits=Limits(requests_per_minute=1))
    await limits.take(own, policy(Limits(requests_per_minute=100)), tokens=1, stream=False)
    with pytest.raises(RateLimited, match="limit of this key, 1 requests"):
        await limits.take(own, policy(Limits(requests_per_minute=100)), tokens=1, stream=False)


async def test_a_refused_request_takes_from_no_limit(redis: Redis) -> None:
    limits = ValkeyLimits(redis)
    bound = policy(Limits(requests_per_minute=10), Limits(tokens_per_minute=100))
    await limits.take(ALICE, bound, tokens=100, stream=False)
    for _ in range(5):
        with pytest.raises(RateLimited, match="100 tokens"):
            await limits.take(ALICE, bound, tokens=50, stream=False)
    lease = await limits.take(ALICE, policy(Limits(requests_per_minute=10)), tokens=1, stream=False)
    assert lease.headers["x-ratelimit-remaining-requests"] == "8"


async def test_settling_gives_back_what_was_not_used(redis: Redis) -> None:
    limits, bound = ValkeyLimits(redis), policy(Limits(tokens_per_minute=1000))
    lease = await limits.take(ALICE, bound, tokens=1000, stream=False)
    with pytest.raises(RateLimited):
        await limits.take(ALICE, bound, tokens=500, stream=False)
    await limits.settle(lease, tokens=300)
    after = await limits.take(ALICE, bound, tokens=500, stream=False)
    assert 195 <= int(after.headers["x-ratelimit-remaining-tokens"]) <= 205


async def test_using_more_than_reserved_is_a_debt(redis: Redis) -> None:
    limits, bound = ValkeyLimits(redis), policy(Limits(tokens_per_minute=1000))
    lease = await limits.take(ALICE, bound, tokens=5000, stream=False)  # larger than the bucket: a full one serves it
    await limits.settle(lease, tokens=3000)
    with pytest.raises(RateLimited) as caught:
        await limits.take(ALICE, bound, tokens=1, stream=False)
    assert 110 < (caught.value.retry_after_s or 0) <= 121


async def test_streams_are_counted_while_they_run(redis: Redis) -> None:
    limits, bound = ValkeyLimits(redis), policy(Limits(concurrent_streams=2))
    first = await limits.take(ALICE, bound, tokens=1, stream=True)
    await limits.take(ALICE, bound, tokens=1, stream=True)
    with pytest.raises(RateLimited, match="2 streams at once"):
        await limits.take(ALICE, bound, tokens=1, stream=True)
    await limits.take(ALICE, bound, tokens=1, stream=False)
    await limits.settle(first, tokens=1)
    await limits.take(ALICE, bound, tokens=1, stream=True)


async def test_a_stream_whose_gateway_died_ends_by_itself(redis: Redis) -> None:
    limits, bound = ValkeyLimits(redis, lease_s=0.1), policy(Limits(concurrent_streams=1))
    await limits.take(ALICE, bound, tokens=1, stream=True)
    await asyncio.sleep(0.15)
    await limits.take(ALICE, bound, tokens=1, stream=True)


async def test_the_bucket_refills_steadily(redis: Redis) -> None:
    limits, bound = ValkeyLimits(redis), policy(Limits(requests_per_minute=600))  # one each 100 ms
    began = time.monotonic()

    async def take_all() -> int:
        for passed in range(10_000):
            try:
                await limits.take(ALICE, bound, tokens=1, stream=False)
            except RateLimited:
                return passed
        raise AssertionError("no limit")

    passed = await take_all()
    await asyncio.sleep(0.35)
    passed += await take_all()
    assert 603 <= passed <= 601 + (time.monotonic() - began) / 0.1
