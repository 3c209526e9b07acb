"""What is owed at each way that a private answer can end, and what its headers say."""

import asyncio

import pytest

from gateway.dp.charge import PrivacyCharge
from gateway.dp.ledger import Balance, BudgetAccount
from gateway.dp.loss import Loss, worst_case
from gateway.errors import BadRequest, LlmosError, RateLimited, Unavailable, UpstreamFailed, UpstreamTimeout
from gateway.exchange import PrivateAdmission
from policies.dp import Budget, DpRule

RULE = DpRule.model_validate(
    {"mechanism": {"kind": "token", "clip": 1.0, "temperature": 3.0, "max_tokens": 50}, "budget": {"epsilon": 100.0}}
)


class Ledger:
    """Keeps what it was asked to settle."""

    def __init__(self) -> None:
        self.settled: list[Loss] = []

    async def reserve(self, account: BudgetAccount, budget: Budget, reservation_id: str, loss: Loss) -> Balance:
        raise AssertionError("nothing more is reserved")

    async def settle(self, account: BudgetAccount, budget: Budget, reservation_id: str, loss: Loss) -> Balance:
        self.settled.append(loss)
        return balance(99.0)

    async def balance(self, account: BudgetAccount, budget: Budget) -> Balance:
        raise AssertionError("not asked")


def balance(left: float) -> Balance:
    return Balance(("epsilon",), (1e-9,), (0,), (100,), (0,), None, epsilon_remaining=left)


def charge(rule: DpRule = RULE) -> tuple[PrivacyCharge, Ledger]:
    ledger = Ledger()
    return PrivacyCharge(rule, BudgetAccount("t", "k", "p"), PrivateAdmission("r", 10, 300), ledger, balance(93.333333333)), ledger


async def test_a_request_that_ended_before_the_model_owes_nothing() -> None:
    owed, ledger = charge()
    await owed.settle()
    await owed.settle()
    assert ledger.settled == [Loss()]


@pytest.mark.parametrize("error", [BadRequest("x"), RateLimited("x"), Unavailable("x")])
async def test_a_refusal_of_the_server_owes_nothing(error: LlmosError) -> None:
    owed, ledger = charge()
    with pytest.raises(LlmosError), owed.drawing():
        raise error
    await owed.settle()
    assert ledger.settled == [Loss()]


@pytest.mark.parametrize("error", [UpstreamFailed("x"), UpstreamTimeout("x"), asyncio.CancelledError(), RuntimeError("x")])
async def test_an_answer_that_broke_off_owes_the_worst_case(error: BaseException) -> None:
    """The reservation, which is the worst case, is not lowered."""
    owed, ledger = charge()
    with pytest.raises(type(error)), owed.drawing():
        raise error
    await owed.settle()
    assert ledger.settled == []
    assert float(owed.headers()["X-LLMOS-DP-Epsilon"]) >= worst_case(RULE, 10).epsilon


async def test_headers_are_rounded_against_the_spender() -> None:
    owed, _ = charge()
    owed.tally.loss = worst_case(RULE, 1)  # 2/3
    assert dict(owed.headers()) == {
        "X-LLMOS-DP-Mechanism": "token",
        "X-LLMOS-DP-Unit": "request (any two inputs)",
        "X-LLMOS-DP-Epsilon": "0.666667",
        "X-LLMOS-DP-Epsilon-Remaining": "93.3333",
    }
    owed.tally.loss = Loss(100.0, 1e-9)
    assert owed.headers()["X-LLMOS-DP-Epsilon"] == "100"
    assert owed.headers()["X-LLMOS-DP-Delta"] == "0.000000001"


async def test_restoring_gives_up_the_headers_and_not_the_charge() -> None:
    owed, ledger = charge(RULE.model_copy(update={"restore": True}))
    owed.tally.loss = Loss(1.0)
    await owed.settle()
    assert (owed.headers(), ledger.settled) == ({}, [Loss(1.0)])
