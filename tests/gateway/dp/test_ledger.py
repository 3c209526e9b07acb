"""The ledger can't be overspent: not by concurrency, window edges, clocks, crashes, repeats or changed budgets."""

import asyncio
import datetime
import os
import sys
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from gateway.dp.accountant import amounts
from gateway.dp.ledger import BudgetAccount
from gateway.dp.loss import Loss
from gateway.errors import BudgetExceeded, PolicyRefusal, StoreUnavailable
from gateway.stores.ledger import RedisLedger
from policies.dp import Budget, Window

ONE = Loss(epsilon=1.0, rho=0.5)
DAY = Window(kind="calendar", period="day")
UTC = datetime.UTC
ROOT = Path(__file__).parents[3]
REPLICA = Path(__file__).with_name("replica.py")


class Clock:
    def __init__(self, when: str = "2026-03-10T12:00:00") -> None:
        self.now = datetime.datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.now


def account(tenant: str, key: str = "k1") -> BudgetAccount:
    return BudgetAccount(tenant, key, "p1")


def new_id() -> str:
    return uuid.uuid4().hex


async def test_reserve_then_settle_gives_back_what_was_not_released(redis: Redis, tenant: str) -> None:
    ledger, budget = RedisLedger(redis), Budget(epsilon=10.0, window=DAY)
    held = await ledger.reserve(account(tenant), budget, "r1", ONE.times(8))
    assert held.spent == (8_000_000_000, 0)
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(account(tenant), budget, "r2", ONE.times(3))
    settled = await ledger.settle(account(tenant), budget, "r1", ONE.times(5))
    assert settled.spent == settled.lifetime == (5_000_000_000, 0)
    assert settled.epsilon_remaining == pytest.approx(5.0)
    assert (await ledger.reserve(account(tenant), budget, "r2", ONE.times(5))).spent == settled.caps


async def test_repeats_book_once_and_settle_once(redis: Redis, tenant: str) -> None:
    ledger, budget = RedisLedger(redis), Budget(epsilon=10.0)
    for _ in range(3):
        await ledger.reserve(account(tenant), budget, "same", ONE.times(4))
    await ledger.settle(account(tenant), budget, "same", ONE.times(3))
    again = await ledger.settle(account(tenant), budget, "same", ONE.times(1))
    assert again.spent[0] == 3_000_000_000


async def test_more_released_than_reserved_is_our_bug_and_keeps_the_reservation(redis: Redis, tenant: str) -> None:
    ledger, budget = RedisLedger(redis), Budget(epsilon=10.0)
    await ledger.reserve(account(tenant), budget, "r", ONE)
    with pytest.raises(ValueError, match="more was released"):
        await ledger.settle(account(tenant), budget, "r", ONE.times(2))
    assert (await ledger.balance(account(tenant), budget)).spent[0] == 1_000_000_000


@pytest.mark.parametrize("loss", [Loss(epsilon=0.1), Loss(epsilon=0.25, delta=1e-7)])
async def test_concurrent_replicas_cannot_overspend(valkey_socket: str, tenant: str, loss: Loss) -> None:
    budget = Budget(epsilon=5.0, delta=1e-5)
    clients = [Redis(unix_socket_path=valkey_socket) for _ in range(4)]
    replicas = [RedisLedger(client) for client in clients]

    async def attempt(i: int) -> bool:
        try:
            await replicas[i % 4].reserve(account(tenant), budget, new_id(), loss)
        except BudgetExceeded:
            return False
        return True

    admitted = sum(await asyncio.gather(*(attempt(i) for i in range(200))))
    assert admitted == round(5.0 / loss.epsilon)
    balance = await replicas[0].balance(account(tenant), budget)
    assert balance.spent[0] <= balance.caps[0]
    for client in clients:
        await client.aclose()


async def test_processes_that_race_and_die_cannot_overspend(valkey_socket: str, redis: Redis, tenant: str) -> None:
    """Three replicas as processes of their own; one is killed between reservation and settlement."""
    epsilon, ways, pipe = 20.0, ("settle", "keep,settle", "settle,settle,die"), asyncio.subprocess.PIPE
    arguments = [[sys.executable, str(REPLICA), valkey_socket, tenant, str(epsilon), each] for each in ways]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    async with asyncio.timeout(120):
        running = [await asyncio.create_subprocess_exec(*each, env=environment, stdin=pipe, stdout=pipe) for each in arguments]
        for each in running:
            assert each.stdout is not None
            assert await each.stdout.readline() == b"ready\n"
        given = [(each[0].decode().split()) for each in await asyncio.gather(*(each.communicate(b"go\n") for each in running))]
    # Killed where its turn came before the budget was spent, which a busy machine does not promise.
    assert [each.returncode for each in running] == [-9 if "die" in words else 0 for words in given]
    cost = {"settle": 0.25, "keep": 0.5, "die": 0.5}
    released = sum(cost[way] for replica in given for way in replica)
    balance = await RedisLedger(redis).balance(
        BudgetAccount(tenant, "k", "p"), Budget(epsilon=epsilon, window=Window(kind="rolling", seconds=86_400))
    )
    assert balance.spent[0] == round(released * 1e9)
    assert epsilon - 0.5 < released <= epsilon  # all was given out, to less than one more reservation


async def test_principals_and_policies_have_their_own_budgets(redis: Redis, tenant: str) -> None:
    ledger, budget = RedisLedger(redis), Budget(epsilon=1.0)
    for key in ("a", "b", "a/b", "a%2Fb"):
        await ledger.reserve(account(tenant, key), budget, new_id(), ONE)
    mine = [a for a in await ledger.accounts() if a.tenant == tenant]
    assert sorted(a.key_id for a in mine) == ["a", "a%2Fb", "a/b", "b"]


async def test_a_calendar_window_empties_at_its_edge_and_says_when(redis: Redis, tenant: str) -> None:
    clock = Clock("2026-03-10T23:59:50")
    ledger, budget = RedisLedger(redis, clock), Budget(epsilon=1.0, window=DAY)
    await ledger.reserve(account(tenant), budget, "r1", ONE)
    with pytest.raises(BudgetExceeded) as caught:
        await ledger.reserve(account(tenant), budget, "r2", ONE)
    assert caught.value.retry_after_s == pytest.approx(10.0, abs=0.01)
    clock.now += 9.999
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(account(tenant), budget, "r2", ONE)
    clock.now += 0.002
    fresh = await ledger.reserve(account(tenant), budget, "r2", ONE)
    assert fresh.spent[0] == 1_000_000_000
    assert fresh.lifetime[0] == 2_000_000_000


async def test_a_rolling_window_frees_each_admission_after_its_length(redis: Redis, tenant: str) -> None:
    clock = Clock()
    ledger, budget = RedisLedger(redis, clock), Budget(epsilon=2.0, window=Window(kind="rolling", seconds=100))
    await ledger.reserve(account(tenant), budget, "r1", ONE)
    clock.now += 60
    await ledger.reserve(account(tenant), budget, "r2", ONE)
    with pytest.raises(BudgetExceeded) as caught:
        await ledger.reserve(account(tenant), budget, "r3", ONE)
    assert caught.value.retry_after_s == pytest.approx(40.0)
    with pytest.raises(BudgetExceeded) as caught:
        await ledger.reserve(account(tenant), budget, "r3", ONE.times(2))
    assert caught.value.retry_after_s == pytest.approx(100.0)
    clock.now += 39.999
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(account(tenant), budget, "r3", ONE)
    clock.now += 0.001
    await ledger.reserve(account(tenant), budget, "r3", ONE)


@given(steps=st.lists(st.tuples(st.integers(0, 90), st.integers(1, 5), st.integers(0, 5)), min_size=1, max_size=25))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_rolling_window_ever_holds_more_than_the_cap(valkey_socket: str, steps: list[tuple[int, int, int]]) -> None:
    clock, whole = Clock(), f"t-{uuid.uuid4().hex}"
    redis = Redis(unix_socket_path=valkey_socket)
    ledger, budget = RedisLedger(redis, clock), Budget(epsilon=6.0, window=Window(kind="rolling", seconds=100))
    booked: list[tuple[float, int]] = []
    for wait_s, reserved, released in steps:
        clock.now += wait_s
        try:
            await ledger.reserve(account(whole), budget, rid := new_id(), ONE.times(reserved))
        except BudgetExceeded:
            continue
        kept = min(reserved, released)
        await ledger.settle(account(whole), budget, rid, ONE.times(kept))
        booked.append((clock.now, kept))
        assert sum(k for t, k in booked if t > clock.now - 100) <= 6
    await redis.aclose()


async def test_a_clock_that_goes_back_does_not_reopen_the_window(redis: Redis, tenant: str) -> None:
    clock = Clock("2026-03-10T00:00:05")
    ledger, budget = RedisLedger(redis, clock), Budget(epsilon=1.0, window=DAY)
    await ledger.reserve(account(tenant), budget, "r1", ONE)
    clock.now -= 3600
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(account(tenant), budget, "r2", ONE)
    assert (await ledger.balance(account(tenant), budget)).spent[0] == 1_000_000_000


@given(
    when=st.datetimes(datetime.datetime(1971, 1, 1), datetime.datetime(2200, 1, 1)),
    period=st.sampled_from(["hour", "day", "week", "month"]),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_calendar_windows_agree_with_the_standard_library(valkey_socket: str, when: datetime.datetime, period: str) -> None:
    redis = Redis(unix_socket_path=valkey_socket)
    clock = Clock(when.replace(microsecond=0).isoformat())
    budget = Budget(epsilon=1.0, window=Window(kind="calendar", period=period))  # type: ignore[arg-type]
    resets = (await RedisLedger(redis, clock).balance(account(f"t-{uuid.uuid4().hex}"), budget)).resets_unix_s
    start = when.replace(minute=0, second=0, microsecond=0, tzinfo=UTC)
    if period != "hour":
        start = start.replace(hour=0)
    if period == "week":
        start -= datetime.timedelta(days=start.weekday())
    if period == "month":
        start = start.replace(day=1)
        end = (start + datetime.timedelta(days=32)).replace(day=1)
    else:
        end = start + {"hour": datetime.timedelta(hours=1), "day": datetime.timedelta(days=1), "week": datetime.timedelta(days=7)}[period]
    assert resets == end.timestamp()
    await redis.aclose()


async def test_a_crash_leaves_the_reservation_spent(valkey_socket: str, tenant: str) -> None:
    budget = Budget(epsilon=2.0)
    first = Redis(unix_socket_path=valkey_socket)
    await RedisLedger(first).reserve(account(tenant), budget, "lost", ONE.times(2))
    await first.aclose()
    second = Redis(unix_socket_path=valkey_socket)
    with pytest.raises(BudgetExceeded):
        await RedisLedger(second).reserve(account(tenant), budget, "next", ONE)
    await second.aclose()


async def test_caps_may_change_while_requests_run_and_bind_at_once(redis: Redis, tenant: str) -> None:
    ledger = RedisLedger(redis)
    await ledger.reserve(account(tenant), Budget(epsilon=10.0), "r1", ONE.times(6))
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(account(tenant), Budget(epsilon=5.0), "r2", ONE)
    assert (await ledger.settle(account(tenant), Budget(epsilon=5.0), "r1", ONE.times(2))).spent[0] == 2_000_000_000
    await ledger.reserve(account(tenant), Budget(epsilon=5.0), "r2", ONE.times(3))


@pytest.mark.parametrize(
    "changed",
    [
        Budget(epsilon=10.0, window=Window(kind="rolling", seconds=60)),
        Budget(epsilon=10.0, delta=1e-6, accountant="zcdp"),
        Budget(epsilon=10.0, window=Window(kind="calendar", period="hour")),
    ],
)
async def test_another_accountant_or_window_is_refused_once_spending_began(redis: Redis, tenant: str, changed: Budget) -> None:
    ledger = RedisLedger(redis)
    await ledger.reserve(account(tenant), Budget(epsilon=10.0, window=DAY), "r1", ONE)
    with pytest.raises(PolicyRefusal, match="new id"):
        await ledger.reserve(account(tenant), changed, "r2", ONE)
    with pytest.raises(PolicyRefusal):
        await ledger.settle(account(tenant), changed, "r1", ONE)


async def test_an_operator_can_override_the_cap(redis: Redis, tenant: str) -> None:
    ledger, budget = RedisLedger(redis), Budget(epsilon=1.0)
    await ledger.reserve(account(tenant), budget, "r1", ONE)
    assert (await ledger.set_cap(account(tenant), budget, 3.0)).epsilon_remaining == pytest.approx(2.0)
    await ledger.reserve(account(tenant), budget, "r2", ONE.times(2))
    await ledger.set_cap(account(tenant), budget, None)
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(account(tenant), budget, "r3", ONE)


async def test_history_sums_by_day(redis: Redis, tenant: str) -> None:
    clock = Clock()
    ledger, budget = RedisLedger(redis, clock), Budget(epsilon=5.0)
    await ledger.reserve(account(tenant), budget, "r1", ONE.times(3))
    await ledger.settle(account(tenant), budget, "r1", ONE)
    clock.now += 86_400
    await ledger.reserve(account(tenant), budget, "r2", ONE.times(2))
    days = await ledger.history(account(tenant), budget)
    assert [d.epsilon for d in days] == [1.0, 2.0]
    assert days[1].day_unix_s - days[0].day_unix_s == 86_400


async def test_a_request_larger_than_the_whole_budget_is_told_so(redis: Redis, tenant: str) -> None:
    clock = Clock("2026-03-10T23:59:00")
    with pytest.raises(BudgetExceeded, match="whole privacy budget") as caught:
        await RedisLedger(redis, clock).reserve(account(tenant), Budget(epsilon=1.0, window=DAY), "r", ONE.times(2))
    assert caught.value.param == "max_tokens"
    assert caught.value.retry_after_s == pytest.approx(60.0)


async def test_an_override_is_of_the_quantity_that_it_was_set_in(redis: Redis, tenant: str) -> None:
    """Set before anything was spent, it binds the accountant; and it never touches delta."""
    ledger, budget = RedisLedger(redis), Budget(epsilon=1.0, delta=1e-6)
    balance = await ledger.set_cap(account(tenant), budget, 3.0)
    assert balance.caps == (3_000_000_000, 1_000_000_000)
    with pytest.raises(PolicyRefusal, match="new id"):
        await ledger.reserve(account(tenant), Budget(epsilon=1.0, delta=1e-6, accountant="zcdp"), "r", ONE)
    stricter = Budget(epsilon=1.0, delta=1e-9)
    assert (await ledger.balance(account(tenant), stricter)).caps == (3_000_000_000, 1_000_000)
    assert (await ledger.set_cap(account(tenant), stricter, None)).caps == (1_000_000_000, 1_000_000)


async def test_an_unreachable_store_fails_closed() -> None:
    ledger = RedisLedger(Redis(unix_socket_path="/nonexistent/v.sock"))
    with pytest.raises(StoreUnavailable, match="nothing was sent upstream"):
        await ledger.reserve(account("t"), Budget(epsilon=1.0), "r", ONE)


async def test_renyi_coordinates_must_all_hold(redis: Redis, tenant: str) -> None:
    budget = Budget(accountant="rdp", epsilon=4.0, delta=1e-6, orders=(8.0, 64.0))
    ledger, loss = RedisLedger(redis), Loss(epsilon=1.0, rho=0.01)
    caps = (await ledger.balance(account(tenant), budget)).caps
    for _ in range(min(c // s for c, s in zip(caps, amounts(budget, loss), strict=True))):
        await ledger.reserve(account(tenant), budget, new_id(), loss)
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(account(tenant), budget, new_id(), loss)
