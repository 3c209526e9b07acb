"""Show or change privacy budgets, and what was spent day by day.

Works on the store directly (LLMOS_REDIS_URL, or the embedded Valkey of the data directory while the gateway runs).
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway.dp.accountant import claimed_epsilon
from gateway.dp.forecast import forecast as predict
from gateway.dp.ledger import Balance, BudgetAccount
from gateway.errors import LlmosError, NotFound
from gateway.serving.store import store_address
from gateway.settings import Settings
from gateway.stores.connection import connect
from gateway.stores.ledger import RedisLedger
from gateway.stores.policies import ValkeyPolicies
from policies.dp import Budget

STORE_TIMEOUT_S = 5.0

app = typer.Typer(help=__doc__, no_args_is_help=True)

Tenant = Annotated[str | None, typer.Option(help="Only this tenant.")]
Key = Annotated[str | None, typer.Option(help="Only this key id.")]
PolicyId = Annotated[str | None, typer.Option("--policy", help="Only this policy.")]


@dataclass(frozen=True, slots=True)
class Stores:
    """The ledger, and the policies that say what each budget is."""

    ledger: RedisLedger
    policies: ValkeyPolicies

    async def budget(self, policy_id: str) -> Budget:
        """The budget of a policy. Raises NotFound where there is no such policy, or it has none."""
        rule = (await self.policies.get(policy_id)).policy.dp
        if rule is None:
            raise NotFound(f"Policy {policy_id!r} has no privacy budget.")
        return rule.budget

    async def accounts(self, tenant: str | None, key: str | None, policy_id: str | None) -> list[tuple[BudgetAccount, Budget]]:
        """The accounts that match and whose policy still serves."""
        found = []
        for account in await self.ledger.accounts():
            if tenant in (None, account.tenant) and key in (None, account.key_id) and policy_id in (None, account.policy_id):
                try:
                    found.append((account, await self.budget(account.policy_id)))
                except NotFound:
                    typer.echo(f"{account.policy_id}: no longer serves with a budget; its spending stays in the store", err=True)
        return found


@asynccontextmanager
async def _stores() -> AsyncIterator[Stores]:
    settings = Settings.from_process()
    redis = connect(store_address(settings), timeout_s=STORE_TIMEOUT_S, max_connections=1)
    try:
        yield Stores(RedisLedger(redis), ValkeyPolicies(redis))
    finally:
        await redis.aclose()


def _run(work: Callable[[Stores], Awaitable[None]]) -> None:
    async def inside() -> None:
        async with _stores() as stores:
            await work(stores)

    try:
        asyncio.run(inside())
    except (LlmosError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


@app.callback()
def budget() -> None:
    """Show or change privacy budgets, and what was spent day by day."""


@app.command()
def show(tenant: Tenant = None, key: Key = None, policy: PolicyId = None) -> None:
    """What each principal has spent and has left in the window, and the sum over its lifetime, which no guarantee covers."""

    async def work(stores: Stores) -> None:
        table = Table("tenant", "key", "policy", "spent (epsilon)", "left (epsilon)", "lifetime (epsilon)", "resets (UTC)")
        for account, rule in await stores.accounts(tenant, key, policy):
            balance = await stores.ledger.balance(account, rule)
            table.add_row(account.tenant, account.key_id, account.policy_id, *_figures(rule, balance))
        Console().print(table)

    _run(work)


def _figures(rule: Budget, balance: Balance) -> tuple[str, str, str, str]:
    resets = "rolling" if balance.resets_unix_s is None else _utc(balance.resets_unix_s).strftime("%Y-%m-%d %H:%M")
    spent, lifetime = claimed_epsilon(rule, balance.spent), claimed_epsilon(rule, balance.lifetime)
    return f"{spent:.4g}", f"{balance.epsilon_remaining:.4g}", f"{lifetime:.4g}", resets


def _utc(unix_s: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(unix_s, tz=datetime.UTC)


@app.command(name="set")
def set_budget(
    tenant: Annotated[str, typer.Argument(help="The tenant.")],
    key: Annotated[str, typer.Argument(help="The key id.")],
    policy: Annotated[str, typer.Argument(help="The policy.")],
    epsilon: Annotated[float | None, typer.Option(help="The new epsilon of a window, in place of the policy's.")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Back to the policy's epsilon.")] = False,
) -> None:
    """Give one principal another epsilon than its policy says. It binds at once; what was spent stays spent."""
    if (epsilon is None) != reset:
        typer.echo("Give either --epsilon or --reset.", err=True)
        raise typer.Exit(2)

    async def work(stores: Stores) -> None:
        rule = await stores.budget(policy)
        balance = await stores.ledger.set_cap(BudgetAccount(tenant, key, policy), rule, epsilon)
        spent, left, _, resets = _figures(rule, balance)
        typer.echo(f"{tenant} {key} {policy}: spent {spent}, left {left}, resets {resets}")

    _run(work)


@app.command()
def history(tenant: Tenant = None, key: Key = None, policy: PolicyId = None) -> None:
    """What requests admitted on each UTC day have spent."""

    async def work(stores: Stores) -> None:
        table = Table("day (UTC)", "tenant", "key", "policy", "spent (epsilon)")
        for account, rule in await stores.accounts(tenant, key, policy):
            for day in await stores.ledger.history(account, rule):
                date = f"{_utc(day.day_unix_s):%Y-%m-%d}"
                table.add_row(date, account.tenant, account.key_id, account.policy_id, f"{day.epsilon:.4g}")
        Console().print(table)

    _run(work)


@app.command()
def forecast(
    policy: Annotated[str, typer.Argument(help="The policy.")],
    requests: Annotated[int, typer.Option(min=1, help="How many answers, declared ahead.")] = 100,
    tokens: Annotated[int | None, typer.Option(min=1, help="Tokens of each; the policy's max_tokens without it.")] = None,
    delta: Annotated[float | None, typer.Option(help="The delta; the budget's, or 1e-6, without it.")] = None,
) -> None:
    """What a number of answers costs by each accountant: to choose a budget by. A report; requests are admitted by the ledger alone."""

    async def work(stores: Stores) -> None:
        rule = (await stores.policies.get(policy)).policy.dp
        if rule is None:
            raise NotFound(f"Policy {policy!r} has no privacy budget.")
        found = predict(rule, requests, tokens or rule.mechanism.max_tokens, delta or rule.budget.delta or 1e-6)
        table = Table("accountant", "epsilon", "delta", "")
        table.add_row("basic", f"{found.basic:.4g}", f"{found.basic_delta:.3g}", "the sum; a filter")
        table.add_row("zcdp", f"{found.zcdp:.4g}", f"{found.delta:.3g}", "a filter")
        table.add_row("rdp", f"{found.rdp:.4g}", f"{found.delta:.3g}", "at its best order; a filter for orders fixed beforehand")
        pld = "-" if found.pld is None else f"{found.pld:.4g}"
        table.add_row(
            "pld", pld, f"{found.delta:.3g}", "for this sequence alone; no filter" if found.pld else "pip install 'llmos[federated]'"
        )
        Console().print(table)
        typer.echo(f"One window of the budget ({rule.budget.accountant}) admits {found.fitting} such answers.")

    _run(work)
