"""Every mechanism is audited as a black box: its measured loss never exceeds its claim, and three planted bugs are caught.

False-alarm rate: a right mechanism fails one audit here with probability at most ALPHA = 1e-6 (the token and ensemble audits
draw from a fixed seed and are the same in every run; OpenDP draws from the operating system, so those audits vary). Power: each
audit must also find at least the stated share of the claim, so that an auditor that always answers 0 would fail. Those shares lie at
least five standard deviations under what 40 simulated audits of the ideal mechanism found: a miss is rarer than one in a million.
"""

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from opendp.domains import atom_domain
from opendp.measurements import make_laplace
from opendp.metrics import absolute_distance

from bench.dp.auditor import clopper_pearson, epsilon_lower_bound
from gateway.dp.analytics import AnalyticsRule, Request, noised_histogram
from gateway.dp.loss import exponential_epsilon, structured_loss
from gateway.dp.numeric import category_release, number_release
from gateway.dp.structured import release
from gateway.dp.vllm_plugin.draw import argmax_row_weights, draw, exponential_row_weights, grid_distances
from gateway.dp.vllm_plugin.request import PrivateSampling
from gateway.dp.vllm_plugin.sampler import PrivateRow, PrivateSampler
from gateway.dp.vllm_plugin.weights import argmax_weights, exponential_weights
from policies.dp import StructuredRule
from policies.dp_schema import Leaf

ALPHA = 1e-6
DRAWS = 40_000
CANDIDATES = 6  # the last one is the sentinel
SENTINEL = [CANDIDATES - 1]

# The pair on which the bound is attained: one token best and all others at -C, against the reverse.
BEST = torch.tensor([0.0, -50.0, -50.0, -50.0, -50.0, 9.0])
WORST = torch.tensor([-50.0, 0.0, 0.0, 0.0, 0.0, 9.0])


def token_draws(logits: torch.Tensor, clip: float, temperature: float, source: Callable[[int], int], count: int = DRAWS) -> list[int]:
    rows = logits.repeat(count, 1)
    excluded = SENTINEL * count
    table = torch.tensor(exponential_weights(clip, temperature))
    return draw(exponential_row_weights(grid_distances(rows, clip, excluded), table, excluded), source)


@pytest.mark.parametrize(("clip", "temperature"), [(1.0, 2.0), (2.0, 1.0), (3.0, 1.0)])
def test_exponential_tokens(clip: float, temperature: float) -> None:
    source = random.Random(11).randrange
    claim = exponential_epsilon(clip, temperature, CANDIDATES - 1)
    found = epsilon_lower_bound(token_draws(BEST, clip, temperature, source), token_draws(WORST, clip, temperature, source), alpha=ALPHA)
    assert 0.7 * claim < found <= claim <= 2 * clip / temperature


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_argmax_tokens(epsilon: float) -> None:
    source = random.Random(12).randrange
    best, other = argmax_weights(epsilon)

    def draws(logits: torch.Tensor) -> list[int]:
        return draw(argmax_row_weights(logits.repeat(DRAWS, 1), best, other, SENTINEL * DRAWS), source)

    second = torch.tensor([-50.0, 0.0, -50.0, -50.0, -50.0, 9.0])
    assert 0.7 * epsilon < epsilon_lower_bound(draws(BEST), draws(second), alpha=ALPHA) <= epsilon


def test_ensembles_lose_at_most_a_group_s_share() -> None:
    groups, clip, temperature = 4, 4.0, 0.5
    sampler = PrivateSampler(1, random.Random(13).randrange)
    sampling = PrivateSampling(kind="ensemble", sentinel=SENTINEL[0], clip=clip, temperature=temperature, groups=groups, ensemble="e" * 16)
    shared = torch.tensor([-1.0, 0.0, 0.0, -2.0, -4.0, 9.0])

    def draws(replaced: torch.Tensor) -> list[int]:
        found = []
        for _ in range(6000):
            logits = torch.stack([replaced, shared, shared, shared])
            sampler.apply(logits, [PrivateRow(row, sampling, 0) for row in range(groups)])
            found.append(int(logits[0].argmax()))
        return found

    claim = 2 * clip / (groups * temperature)
    assert 0.4 * claim < epsilon_lower_bound(draws(BEST), draws(WORST), alpha=ALPHA) <= claim


def binned(values: list[float], low: float, high: float, bins: int = 15) -> list[int]:
    width = (high - low) / bins
    return [min(bins, max(-1, math.floor((v - low) / width))) for v in values]


@pytest.mark.parametrize("epsilon", [0.5, 1.5])
@pytest.mark.parametrize("kind", ["number", "integer"])
def test_laplace_leaves(kind: Any, epsilon: float) -> None:
    leaf = Leaf(("x",), kind, "laplace", epsilon=epsilon, lower=0.0, upper=10.0)
    noisy = number_release(leaf)
    cast: Any = int if kind == "integer" else float
    first = binned([noisy(cast(0)) for _ in range(12_000)], -10.0, 20.0)
    second = binned([noisy(cast(10)) for _ in range(12_000)], -10.0, 20.0)
    assert 0.45 * epsilon < epsilon_lower_bound(first, second, alpha=ALPHA) <= epsilon


@pytest.mark.parametrize("kind", ["number", "integer"])
def test_gaussian_leaves(kind: Any) -> None:
    leaf = Leaf(("x",), kind, "gaussian", epsilon=2.0, delta=1e-3, lower=0.0, upper=10.0)
    noisy = number_release(leaf)
    cast: Any = int if kind == "integer" else float
    first = binned([noisy(cast(0)) for _ in range(12_000)], -20.0, 30.0)
    second = binned([noisy(cast(10)) for _ in range(12_000)], -20.0, 30.0)
    assert 0.2 * 2.0 < epsilon_lower_bound(first, second, alpha=ALPHA, delta=1e-3) <= 2.0


@pytest.mark.parametrize("size", [2, 5])
def test_randomised_response(size: int) -> None:
    noisy = category_release(tuple("abcdefg"[:size]), 1.2)
    first, second = ([noisy(i) for _ in range(8_000)] for i in (0, 1))
    assert 0.6 * 1.2 < epsilon_lower_bound(first, second, alpha=ALPHA) <= 1.2


def test_whole_objects_failures_included() -> None:
    """The pair that a failing model gives: a good answer against none. The sum of the leaves bounds it."""
    answer = {"type": "boolean", "x-dp": {"mechanism": "randomized_response", "epsilon": 0.8}}
    rule = StructuredRule(kind="structured", json_schema={"type": "object", "properties": {"a": answer, "b": answer}})
    claim = structured_loss(rule).epsilon
    first = [tuple(release(rule, '{"a": true, "b": true}').values()) for _ in range(4000)]
    second = [tuple(release(rule, None).values()) for _ in range(4000)]
    assert 0.5 * claim < epsilon_lower_bound(first, second, alpha=ALPHA) <= claim


def test_noised_statistics() -> None:
    """One key's whole day against another one: its one request was of this kind, or of that."""
    rule = AnalyticsRule(epsilon=2.0, bound=1)
    crowd = [Request(f"k{i}", "chat.completions", "ok") for i in range(20)]

    def releases(mine: Request) -> list[tuple[int, int]]:
        drawn = (noised_histogram([*crowd, mine], rule) for _ in range(2000))
        return [(min(d["chat.completions:ok"], 24), min(d["embeddings:other"], 4)) for d in drawn]

    first = releases(Request("me", "chat.completions", "ok"))
    second = releases(Request("me", "embeddings", "failed"))
    assert 0.45 * 2.0 < epsilon_lower_bound(first, second, alpha=ALPHA) <= 2.0


def test_bug_scale_epsilon_instead_of_sensitivity_over_epsilon_is_caught() -> None:
    """y = x + Lap(epsilon), as the source text writes it: for sensitivity 1 and epsilon 0.5 its loss is 2, not 0.5."""
    epsilon = 0.5
    wrong = make_laplace(atom_domain(T=float, nan=False), absolute_distance(T=float), scale=epsilon)
    first = binned([wrong(0.0) for _ in range(12_000)], -3.0, 4.0)
    second = binned([wrong(1.0) for _ in range(12_000)], -3.0, 4.0)
    assert epsilon_lower_bound(first, second, alpha=ALPHA) > epsilon


def test_bug_no_clipping_is_caught() -> None:
    """The weights of clip 1 at temperature 1, but the utilities run down to -4: the table goes on below its end."""
    clip, reach = 1.0, 4
    table = torch.tensor(exponential_weights(reach * clip, 1.0))
    claim = exponential_epsilon(clip, 1.0, CANDIDATES - 1)

    def wrong(logits: torch.Tensor, source: random.Random) -> list[int]:
        rows, excluded = logits.repeat(DRAWS, 1), SENTINEL * DRAWS
        return draw(exponential_row_weights(grid_distances(rows, reach * clip, excluded), table, excluded), source.randrange)

    first, second = wrong(BEST, random.Random(15)), wrong(WORST, random.Random(16))
    assert epsilon_lower_bound(first, second, alpha=ALPHA) > claim


def test_bug_reused_seed_is_caught() -> None:
    """Each answer drawn from the same seed (the engine's default): the noise is a constant, and the answer shows the input."""
    clip, temperature = 2.0, 1.0

    def wrong(logits: torch.Tensor) -> list[int]:
        return [token_draws(logits, clip, temperature, random.Random(16).randrange, count=1)[0] for _ in range(1000)]

    claim = exponential_epsilon(clip, temperature, CANDIDATES - 1)
    assert epsilon_lower_bound(wrong(BEST), wrong(WORST), alpha=ALPHA) > claim


def test_the_bound_itself_holds_as_often_as_it_says() -> None:
    """On randomised response with known loss, a bound at alpha = 0.1 exceeds the truth in at most 10 % of 300 audits.

    Fixed seed; a right auditor with exactly 10 % would exceed 50 of 300 once in 10^4 seeds.
    """
    source, epsilon = random.Random(17), 1.0
    keep = math.exp(epsilon) / (1 + math.exp(epsilon))
    wrong = 0
    for _ in range(300):
        first, second = ([x if source.random() < keep else 1 - x for _ in range(400)] for x in (0, 1))
        wrong += epsilon_lower_bound(first, second, alpha=0.1) > epsilon
    assert wrong <= 50


def test_clopper_pearson_limits() -> None:
    assert clopper_pearson(0, 100, 0.025) == (0.0, pytest.approx(0.0362, abs=1e-4))
    assert clopper_pearson(100, 100, 0.025)[1] == 1.0
    low, high = clopper_pearson(50, 100, 0.025)
    assert (low, high) == (pytest.approx(0.3983, abs=1e-4), pytest.approx(0.6017, abs=1e-4))
