"""What one private answer costs its principal, from reservation to settlement.

Flow: `stages.admit` reserves and makes it, `stages.noise` writes into its tally what was released, the pipeline settles it once,
whatever happened, and puts its headers on the answer. It does not know what a mechanism guarantees: see `gateway.dp.loss`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.dp.ledger import Balance, BudgetAccount, PrivacyLedger
from gateway.dp.loss import Tally, unit_of, worst_case
from gateway.exchange import PrivateAdmission
from policies.dp import DpRule


@dataclass(slots=True)
class PrivacyCharge:
    """What a private answer costs: reserved for the worst case, lowered once to what `tally` says was released."""

    rule: DpRule
    account: BudgetAccount
    admission: PrivateAdmission
    ledger: PrivacyLedger
    balance: Balance
    tally: Tally = field(default_factory=Tally)
    _settled: bool = False

    async def settle(self) -> None:
        """Raises StoreUnavailable: the reservation then stays spent."""
        if self._settled:
            return
        loss = self.tally.loss
        if loss is not None:  # else a stream broke off: the worst case stays booked
            self.balance = await self.ledger.settle(self.account, self.rule.budget, self.admission.reservation_id, loss)
        self._settled = True

    def spent(self) -> Mapping[str, object]:
        """What the audit says of it: the worst case as long as it is not known what was released."""
        loss = worst_case(self.rule, self.admission.max_tokens) if self.tally.loss is None else self.tally.loss
        return {
            "mechanism": self.rule.mechanism.kind,
            "privacy_unit": unit_of(self.rule).partition(" ")[0],
            "epsilon": loss.epsilon,
            "delta": loss.delta,
            "reservation_id": self.admission.reservation_id,
        }

    def headers(self) -> Mapping[str, str]:
        """The claim that goes with the answer; none where the policy gives it up by restoring. For a stream: the worst case."""
        if self.rule.restore:
            return {}
        loss = worst_case(self.rule, self.admission.max_tokens) if self.tally.loss is None else self.tally.loss
        headers = {
            "X-LLMOS-DP-Mechanism": self.rule.mechanism.kind,
            "X-LLMOS-DP-Unit": unit_of(self.rule),
            "X-LLMOS-DP-Epsilon": f"{loss.epsilon:.6g}",
            "X-LLMOS-DP-Epsilon-Remaining": f"{self.balance.epsilon_remaining:.6g}",
        }
        return headers | ({"X-LLMOS-DP-Delta": f"{loss.delta:.6g}"} if loss.delta else {})
