"""What one private answer costs its principal, from reservation to settlement.

Flow: `stages.admit` reserves and makes it, `stages.noise` writes into its tally what was released, the pipeline settles it once,
whatever happened, and puts its headers on the answer. It does not know what a mechanism guarantees: see `gateway.dp.loss`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Context

from gateway.dp.ledger import Balance, BudgetAccount, PrivacyLedger
from gateway.dp.loss import Loss, Tally, unit_of, worst_case
from gateway.errors import LlmosError, UpstreamFailed, UpstreamTimeout
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

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """The model may draw from here on: the worst case is owed until the tally says what was released.

        A refusal (the server did not take the request) owes nothing. A failure, a timeout or a caller who went away owes all of it: when an
        answer broke off depends on what was drawn, so that asking again for nothing would be a release that nobody paid.
        """
        self.tally.loss = None
        try:
            yield
        except (UpstreamFailed, UpstreamTimeout):
            raise
        except LlmosError:
            self.tally.loss = Loss()
            raise

    async def settle(self) -> None:
        """Raises StoreUnavailable: the reservation then stays spent."""
        if self._settled:
            return
        loss = self.tally.loss
        if loss is not None:  # else the answer broke off: the worst case stays booked
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
            "X-LLMOS-DP-Epsilon": _figure(loss.epsilon, ROUND_CEILING),
            "X-LLMOS-DP-Epsilon-Remaining": _figure(self.balance.epsilon_remaining, ROUND_FLOOR),
        }
        return headers | ({"X-LLMOS-DP-Delta": _figure(loss.delta, ROUND_CEILING)} if loss.delta else {})


def _figure(value: float, rounding: str) -> str:
    """Six significant digits, rounded so that the claim is never better than the truth."""
    return f"{Context(prec=6, rounding=rounding).create_decimal(repr(value)).normalize():f}"
