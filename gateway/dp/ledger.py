"""What the privacy ledger is to the rest of the gateway: accounts, balances, and the port that a store implements.

`gateway.stores.ledger` implements it on the Redis protocol; `gateway.dp.charge` uses it for one request. It says what a ledger has to
keep, not what the amounts mean: see `gateway.dp.accountant`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gateway.dp.loss import Loss
from policies.dp import Budget


@dataclass(frozen=True, slots=True)
class BudgetAccount:
    """Whose privacy budget: one principal under one policy."""

    tenant: str
    key_id: str
    policy_id: str


@dataclass(frozen=True, slots=True)
class Balance:
    """A budget's state in whole units of its coordinates (see `gateway.dp.accountant`), and what is left as an epsilon."""

    names: tuple[str, ...]
    units: tuple[float, ...]
    spent: tuple[int, ...]  # in this window, reservations included
    caps: tuple[int, ...]
    lifetime: tuple[int, ...]  # over all windows: no guarantee covers it, it is the sum
    resets_unix_s: float | None  # the end of a calendar window; None for a rolling one
    epsilon_remaining: float = 0.0


@dataclass(frozen=True, slots=True)
class BudgetDay:
    """What requests admitted on one UTC day have spent, in units and as the epsilon that it proves."""

    day_unix_s: int
    spent: tuple[int, ...]
    epsilon: float


class PrivacyLedger(Protocol):
    """Budgets that can't be overspent. Reservations are atomic; a reservation that is never settled stays spent."""

    async def reserve(self, account: BudgetAccount, budget: Budget, reservation_id: str, loss: Loss) -> Balance:
        """Raises BudgetExceeded, PolicyRefusal, StoreUnavailable."""
        ...

    async def settle(self, account: BudgetAccount, budget: Budget, reservation_id: str, loss: Loss) -> Balance:
        """Lower a reservation, once, to what was released. Raises PolicyRefusal, StoreUnavailable."""
        ...

    async def balance(self, account: BudgetAccount, budget: Budget) -> Balance: ...
