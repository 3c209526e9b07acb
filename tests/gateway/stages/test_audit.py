"""What a trail says: the privacy budget spent, the stages in order, and nothing for the hundredth wrong key of a minute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from gateway.audit.content_free import content_free
from gateway.dp.charge import PrivacyCharge
from gateway.dp.ledger import Balance, BudgetAccount
from gateway.dp.loss import Loss
from gateway.errors import TooManyAttempts
from gateway.exchange import PrivateAdmission
from gateway.http.metrics import PrometheusMeter
from gateway.stages.audit import Trail, audit_outcome
from policies.dp import DpRule

RULE = DpRule.model_validate(
    {"mechanism": {"kind": "token", "clip": 4.0, "temperature": 2.0, "max_tokens": 10}, "budget": {"epsilon": 100.0}}
)


class Kept:
    """An audit log and a tracer that keep what they are given."""

    def __init__(self) -> None:
        self.records: list[Mapping[str, Any]] = []
        self.stages: list[str] = []

    async def admission(self, record: Mapping[str, Any]) -> None:
        self.records.append(record)

    async def outcome(self, record: Mapping[str, Any]) -> None:
        self.records.append(record)

    def request(self, record: Mapping[str, Any], begun_unix_s: float, stages: Sequence[tuple[str, float, float]]) -> None:
        self.stages = [name for name, _, _ in stages]


async def test_the_record_says_what_of_the_budget_was_spent_and_how_long_each_stage_took() -> None:
    kept = Kept()
    trail = Trail("req_1", "chat.completions", PrometheusMeter(), kept)
    charge = PrivacyCharge(RULE, BudgetAccount("t", "k", "p"), PrivateAdmission("0" * 32, 10), None, Balance((), (), (), (), (), None))  # type: ignore[arg-type]
    trail.spent = charge.spent
    with trail.stage("admit"):
        worst = trail.record()["dp"]["epsilon"]
    with trail.stage("infer"):
        charge.tally.loss = Loss(epsilon=worst / 2)
    await audit_outcome(trail, kept)
    (record,) = kept.records
    assert record["dp"] == {
        "mechanism": "token", "privacy_unit": "request", "epsilon": worst / 2, "delta": 0.0, "reservation_id": "0" * 32,
    }  # fmt: skip
    assert content_free(record)["dp"] == record["dp"], "the filter lets it through as it is"
    assert list(record["stage_ms"]) == kept.stages == ["admit", "infer"]


@pytest.mark.parametrize(("count", "written"), [(11, 0), (16, 1), (100, 0), (128, 1)])
async def test_of_many_wrong_keys_each_doubling_is_written(count: int, written: int) -> None:
    kept = Kept()
    trail = Trail("req_1", "chat.completions", PrometheusMeter())
    trail.failed(TooManyAttempts("wait", count=count, retry_after_s=60.0))
    await audit_outcome(trail, kept)
    assert [record["attempts"] for record in kept.records] == [count] * written
