"""A lower bound on epsilon from black-box samples: what a mechanism provably loses, against what it claims.

Method (Jagielski, Ullman & Oprea 2020; Nasr et al. 2023; Bichsel et al. 2021): draw many releases for two neighbouring inputs; on
one half of the samples choose a set S of outcomes that tells them apart; on the other half bound P(S|x) from below and P(S|x')
from above by Clopper & Pearson (1934). Then epsilon >= ln((low - delta) / high), wrong with probability at most `alpha`.

An operator's and the tests' tool; it takes no part in a request. A small bound proves nothing: only a bound above the claim
proves a defect. It sees one pair of inputs and the released value, no timing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

from scipy.stats import beta


def epsilon_lower_bound(first: Sequence[Hashable], second: Sequence[Hashable], *, alpha: float, delta: float = 0.0) -> float:
    """A bound that exceeds the true epsilon with probability at most `alpha`; 0 where the samples show nothing.

    Args:
        first, second: released outcomes (categories; bin real values first) for two neighbouring inputs, in the order drawn.
        alpha: the false-alarm rate.
        delta: the delta of the claim.
    """
    bounds = [_directed(a, b, alpha / 2, delta) for a, b in ((first, second), (second, first))]
    return max(0.0, *bounds)


def _directed(first: Sequence[Hashable], second: Sequence[Hashable], alpha: float, delta: float) -> float:
    half_a, half_b = len(first) // 2, len(second) // 2
    chosen = _telling_set(first[:half_a], second[:half_b], alpha, delta)
    test_a, test_b = first[half_a:], second[half_b:]
    low = clopper_pearson(sum(x in chosen for x in test_a), len(test_a), alpha / 2)[0]
    high = clopper_pearson(sum(x in chosen for x in test_b), len(test_b), alpha / 2)[1]
    return math.log((low - delta) / high) if low > delta else 0.0


def _telling_set(first: Sequence[Hashable], second: Sequence[Hashable], alpha: float, delta: float) -> frozenset[Hashable]:
    """The set of outcomes, the most telling first, for which the bound on these samples, at the final confidence, is largest."""
    counts_a, counts_b = Counter(first), Counter(second)
    by_ratio = sorted(counts_a, key=lambda x: (counts_a[x] + 0.5) / (counts_b[x] + 0.5), reverse=True)
    best, chosen, a, b = -math.inf, 0, 0, 0
    for size, outcome in enumerate(by_ratio, start=1):
        a, b = a + counts_a[outcome], b + counts_b[outcome]
        low = clopper_pearson(a, len(first), alpha / 2)[0] - delta
        score = math.log(low / clopper_pearson(b, len(second), alpha / 2)[1]) if low > 0 else -math.inf
        if score > best:
            best, chosen = score, size
    return frozenset(by_ratio[:chosen])


def clopper_pearson(successes: int, trials: int, alpha: float) -> tuple[float, float]:
    """One-sided exact limits of a proportion: P(p < low) <= alpha and P(p > high) <= alpha, each."""
    low = 0.0 if successes == 0 else float(beta.ppf(alpha, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(beta.ppf(1 - alpha, successes + 1, trials - successes))
    return low, high
