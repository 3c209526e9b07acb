"""Privacy budgets as an administrator reads them: spent, left, and by day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.admin.parts import AdminParts
from gateway.dp.accountant import claimed_epsilon
from gateway.dp.ledger import BudgetAccount


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One principal under one policy; `days` are (UTC day as Unix seconds, epsilon spent)."""

    account: BudgetAccount
    epsilon: float
    epsilon_spent: float
    epsilon_left: float
    resets_unix_s: float | None
    days: tuple[tuple[int, float], ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "tenant": self.account.tenant,
            "key_id": self.account.key_id,
            "policy": self.account.policy_id,
            "epsilon": self.epsilon,
            "epsilon_spent": self.epsilon_spent,
            "epsilon_left": self.epsilon_left,
            "resets_unix_s": self.resets_unix_s,
            "days": [{"day_unix_s": day, "epsilon": epsilon} for day, epsilon in self.days],
        }


async def budget_rows(parts: AdminParts) -> list[BudgetRow]:
    """Every account whose policy still serves with a budget. Raises StoreUnavailable."""
    rules = {entry.id: entry.policy.dp for entry in await parts.policies.all()}
    rows = []
    for account in await parts.ledger.accounts():
        rule = rules.get(account.policy_id)
        if rule is None:
            continue
        balance = await parts.ledger.balance(account, rule.budget)
        history = await parts.ledger.history(account, rule.budget)
        rows.append(
            BudgetRow(
                account,
                rule.budget.epsilon,
                claimed_epsilon(rule.budget, balance.spent),
                balance.epsilon_remaining,
                balance.resets_unix_s,
                tuple((day.day_unix_s, day.epsilon) for day in history),
            )
        )
    return rows
