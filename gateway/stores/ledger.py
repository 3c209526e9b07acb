"""The privacy ledger on the Redis protocol: a reservation and its settlement are each one atomic script.

Implements `gateway.dp.ledger.PrivacyLedger`. Concurrent requests on many replicas can't overspend, because the sum, the comparison and
the booking happen in one script (`ledger.lua`). A crash after the reservation leaves it spent. The clock is the store's own, one for
all replicas, unless another is injected; a clock that goes back does not reopen a window.

It does NOT survive a store that forgets: a crash of the store may lose what it had not yet written (at most a second with
`appendfsync everysec`, nothing with `always`). A store clock that jumps ahead empties windows early, and can't be noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Any, cast
from urllib.parse import quote, unquote

from redis.asyncio import Redis

from gateway.dp.accountant import Coordinate, amounts, claimed_epsilon, coordinates
from gateway.dp.ledger import Balance, BudgetAccount, BudgetDay
from gateway.dp.loss import Loss
from gateway.errors import BudgetExceeded, PolicyRefusal
from gateway.stores.failures import reaching
from policies.dp import Budget

PREFIX = "llmos:dp:"
_SCRIPT = files("gateway.stores").joinpath("ledger.lua").read_text(encoding="utf-8")


class RedisLedger:
    """`clock` returns Unix seconds; None takes the store's clock."""

    def __init__(self, redis: Redis, clock: Callable[[], float] | None = None) -> None:
        self._redis = redis
        self._clock = clock
        self._script = redis.register_script(_SCRIPT)

    async def reserve(self, account: BudgetAccount, budget: Budget, reservation_id: str, loss: Loss) -> Balance:
        """Book the worst case before inference. The same id again books nothing.

        Raises BudgetExceeded (with the seconds until it would fit), PolicyRefusal where the budget's accountant or window was
        changed after spending began, StoreUnavailable.
        """
        wanted = amounts(budget, loss)
        status, now_ms, resets_ms, balance = await self._run("reserve", account, budget, reservation_id, wanted)
        if status == "exceeded":
            retry_after_s = max(1.0, (resets_ms - now_ms) / 1000)
            if any(w > c for w, c in zip(wanted, balance.caps, strict=True)):
                raise BudgetExceeded(
                    "this request's worst case is larger than the whole privacy budget of a window; ask for fewer max_tokens",
                    param="max_tokens",
                    retry_after_s=retry_after_s,  # a wait alone does not help; without this the client would be told to come back at once
                )
            raise BudgetExceeded(
                "the privacy budget of this window is spent; retry after it resets, or ask for fewer max_tokens",
                retry_after_s=retry_after_s,
            )
        return balance

    async def settle(self, account: BudgetAccount, budget: Budget, reservation_id: str, loss: Loss) -> Balance:
        """Lower a reservation to what was released. The second settlement of an id changes nothing.

        Raises ValueError where more was released than reserved (our own bug: the reservation stays), PolicyRefusal, StoreUnavailable.
        """
        status, _, _, balance = await self._run("settle", account, budget, reservation_id, amounts(budget, loss))
        if status == "over":
            raise ValueError("more was released than reserved; the reservation stays booked")
        return balance

    async def balance(self, account: BudgetAccount, budget: Budget) -> Balance:
        """What is spent and left in the window that holds now. Changes nothing. Raises PolicyRefusal, StoreUnavailable."""
        _, _, _, balance = await self._run("read", account, budget, "", ())
        return balance

    async def set_cap(self, account: BudgetAccount, budget: Budget, epsilon: float | None) -> Balance:
        """Override the policy's epsilon for this account from now on; None takes the override away. Spent amounts stay.

        Raises ValueError for an epsilon that is no budget, PolicyRefusal as `reserve` does, StoreUnavailable.
        """
        changed = budget if epsilon is None else Budget.model_validate(budget.model_dump() | {"epsilon": epsilon})
        # Delta as such is not overridden: where it is a coordinate, the policy's cap goes on to hold.
        caps = ["-" if epsilon is None or c.name == "delta" else str(c.cap) for c in coordinates(changed)]
        _, _, _, balance = await self._run("cap", account, budget, "", caps)
        return balance

    async def history(self, account: BudgetAccount, budget: Budget) -> list[BudgetDay]:
        """What was spent by UTC day of admission, oldest first."""
        with reaching("read the privacy ledger"):
            raw = await cast(Any, self._redis.hgetall(self._keys(account)[3]))
        days: dict[int, list[int]] = {}
        size = len(coordinates(budget))
        for key, value in raw.items():
            day, _, index = _text(key).partition("|")
            days.setdefault(int(day), [0] * size)[int(index) - 1] = int(value)
        return [BudgetDay(day * 86_400, tuple(spent), claimed_epsilon(budget, spent)) for day, spent in sorted(days.items())]

    async def accounts(self) -> list[BudgetAccount]:
        """Every account that has spent or has an override."""
        with reaching("read the privacy ledger"):
            found = [_text(key) async for key in self._redis.scan_iter(match=f"{PREFIX}*:meta", count=500)]
        parts = sorted(key.removeprefix(PREFIX + "{").removesuffix("}:meta").split("/") for key in found)
        return [BudgetAccount(*(unquote(p) for p in part)) for part in parts if len(part) == 3]

    async def _run(
        self, operation: str, account: BudgetAccount, budget: Budget, reservation_id: str, wanted: Sequence[int | str]
    ) -> tuple[str, int, int, Balance]:
        spaces = coordinates(budget)
        window = budget.window
        length = window.period or str((window.seconds or 0) * 1000)
        now = "" if self._clock is None else str(int(self._clock() * 1000))
        arguments = [operation, now, _signature(budget, spaces), window.kind, length, _join([c.cap for c in spaces])]
        with reaching("book in the privacy ledger"):
            raw = await cast(Any, self._script)(keys=self._keys(account), args=[*arguments, reservation_id, _join(wanted)])
        status, now_ms, resets_ms, spent, life, caps = (_text(part) for part in raw)
        if status == "changed":
            raise PolicyRefusal(
                "the accountant or the window of this budget was changed after spending began; give the policy a new id, or restore them"
            )
        balance = Balance(
            names=tuple(c.name for c in spaces),
            units=tuple(c.unit for c in spaces),
            spent=_split(spent),
            caps=_split(caps),
            lifetime=_split(life),
            resets_unix_s=int(resets_ms) / 1000 if window.kind == "calendar" else None,
        )
        remaining = max(0.0, claimed_epsilon(budget, balance.caps) - claimed_epsilon(budget, balance.spent))
        return status, int(now_ms), int(resets_ms), replace(balance, epsilon_remaining=remaining)

    @staticmethod
    def _keys(account: BudgetAccount) -> list[str]:
        tag = "/".join(quote(part, safe="") for part in (account.tenant, account.key_id, account.policy_id))
        return [f"{PREFIX}{{{tag}}}:{name}" for name in ("meta", "entries", "amounts", "history")]


def _signature(budget: Budget, spaces: Sequence[Coordinate]) -> str:
    """What must not change once spending began: the quantity and the window (caps may)."""
    window = budget.window
    delta = f"@{budget.delta!r}" if budget.accountant != "basic" else ""
    return f"{budget.accountant}{delta}|{','.join(c.name for c in spaces)}|{window.kind}:{window.period or window.seconds}"


def _join(values: Sequence[int | str]) -> str:
    return ",".join(str(v) for v in values)


def _split(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",")) if text else ()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
