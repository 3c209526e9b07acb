"""Usage statistics with noise, for the role that may read neither the audit nor the metrics.

Unit: everything one API key did in one UTC day. Neighbours: that key's records replaced by any others, or left out. Each key
contributes at most `bound` requests in all (the first ones of the day), so a histogram over fixed categories moves by at most
2 bound in L1; each count gets OpenDP's discrete Laplace noise of scale 2 bound / epsilon (Dwork et al. 2006, Prop. 1). All
categories are released, zero or not, and the release is kept: the same day asked for again is the same numbers, and costs nothing.

Not covered: which keys exist, how many days are asked for, and what a count shows about a key over many days (losses add up; the
analyst's own budget bounds the days in a window).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from gateway.dp.ledger import BudgetAccount, PrivacyLedger
from gateway.dp.loss import Loss, pure_rho
from gateway.dp.numeric import number_release
from gateway.errors import BadRequest
from policies.dp import Budget, Window
from policies.dp_schema import Leaf

CATEGORIES = tuple(
    f"{api}:{outcome}" for api in ("chat.completions", "completions", "responses", "embeddings") for outcome in ("ok", "other")
)
DAY_S = 86_400
ACCOUNT = "statistics"


@dataclass(frozen=True, slots=True)
class AnalyticsRule:
    """Epsilon of one day's histogram, requests that one key contributes at most, and the analyst's budget."""

    epsilon: float = 1.0
    bound: int = 100
    budget: Budget = Budget(epsilon=31.0, window=Window(kind="calendar", period="month"))  # noqa: RUF009 - frozen


@dataclass(frozen=True, slots=True)
class Request:
    """What of an outcome record is counted."""

    key_id: str
    api: str
    outcome: str


class KeptReleases(Protocol):
    """Where a day's release is kept, so that it is drawn once."""

    async def get(self, tenant: str, day: int) -> str | None: ...

    async def put_if_absent(self, tenant: str, day: int, release: str) -> str:
        """Keep `release` unless one is kept already; what is kept now."""
        ...


def noised_histogram(requests: Iterable[Request], rule: AnalyticsRule) -> dict[str, int]:
    """One day's counts by category. Raises nothing for any input: an unknown api is left out."""
    counts: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for request in requests:
        category = f"{request.api}:{'ok' if request.outcome == 'ok' else 'other'}"
        if category in CATEGORIES and taken[request.key_id] < rule.bound:
            taken[request.key_id] += 1
            counts[category] += 1
    leaf = Leaf(("count",), "integer", "laplace", rule.epsilon, lower=0.0, upper=2.0 * rule.bound)  # sensitivity 2 bound
    noisy = number_release(leaf)
    return {category: max(0, int(noisy(counts[category]))) for category in CATEGORIES}


class Statistics:
    """A tenant's noised statistics, day by day, under the analyst's budget."""

    def __init__(
        self,
        outcomes: Callable[[str, int], AsyncIterator[Request]],
        ledger: PrivacyLedger,
        kept: KeptReleases,
        rule: AnalyticsRule,
        now: Callable[[], float],
    ) -> None:
        """`outcomes(tenant, day)` gives the outcome records of one UTC day (days since 1970-01-01), in order."""
        self._outcomes = outcomes
        self._ledger = ledger
        self._kept = kept
        self._rule = rule
        self._now = now

    @property
    def epsilon(self) -> float:
        """What one day's release costs."""
        return self._rule.epsilon

    async def day(self, tenant: str, day: int) -> Mapping[str, int]:
        """The release of one whole UTC day. Raises BadRequest for a day that is not over, BudgetExceeded, StoreUnavailable."""
        if day >= int(self._now() // DAY_S):
            raise BadRequest("statistics are released for days that are over (UTC)", param="day")
        kept = await self._kept.get(tenant, day)
        if kept is None:
            account, loss = BudgetAccount(tenant, ACCOUNT, ACCOUNT), Loss(self._rule.epsilon, 0.0, pure_rho(self._rule.epsilon))
            await self._ledger.reserve(account, self._rule.budget, f"{tenant}:{day}", loss)  # one day costs once, whoever asks
            drawn = noised_histogram([request async for request in self._outcomes(tenant, day)], self._rule)
            kept = await self._kept.put_if_absent(tenant, day, json.dumps(drawn))
        return dict(json.loads(kept))
