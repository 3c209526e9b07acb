"""Draws are exact: the threshold picks each index as often as its weight says, and nothing else is possible afterwards."""

import random
from collections import Counter

import pytest
import torch
from scipy import stats

from gateway.dp.vllm_plugin.draw import argmax_row_weights, draw, exponential_row_weights, force, grid_distances
from gateway.dp.vllm_plugin.weights import GRID_STEPS, exponential_weights


def test_every_threshold_maps_to_the_index_that_owns_it() -> None:
    weights = torch.tensor([[2, 0, 3, 1]])
    drawn = [draw(weights, lambda total, r=r: r)[0] for r in range(6)]
    assert drawn == [0, 0, 2, 2, 2, 3]


def test_draws_follow_the_weights() -> None:
    source = random.Random(5)
    weights = torch.tensor([[10, 20, 30, 40]])
    counts = Counter(draw(weights, source.randrange)[0] for _ in range(20_000))
    observed = [counts[i] for i in range(4)]
    # One test at a fixed seed; a right sampler fails it for one seed in 10^4.
    assert stats.chisquare(observed, [2000, 4000, 6000, 8000]).pvalue > 1e-4


def test_distances_are_clipped_and_on_the_grid() -> None:
    logits = torch.tensor([[3.0, 2.0, -50.0, float("nan"), float("inf"), 1.0]])
    logits[0, 4] = 2.5
    assert grid_distances(logits, 2.0, [5]).tolist() == [[0, GRID_STEPS // 2, GRID_STEPS, GRID_STEPS, GRID_STEPS // 4, GRID_STEPS]]


def test_infinite_and_missing_logits_stay_in_range() -> None:
    rows = torch.tensor([[float("inf"), 0.0, float("-inf")], [float("nan")] * 3, [float("-inf")] * 3])
    distances = grid_distances(rows, 5.0, [0, 0, 0])
    assert distances.min() >= 0
    assert distances.max() <= GRID_STEPS


def test_the_excluded_token_has_no_weight_and_does_not_set_the_maximum() -> None:
    logits = torch.tensor([[100.0, 1.0, 0.0]])
    distances = grid_distances(logits, 4.0, [0])
    assert distances[0, 1] == 0
    table = torch.tensor(exponential_weights(4.0, 1.0))
    weights = exponential_row_weights(distances, table, [0])
    assert weights[0, 0] == 0
    assert weights[0, 1] > weights[0, 2] > 0
    assert argmax_row_weights(logits, 9, 1, [0]).tolist() == [[0, 9, 1]]


def test_force_leaves_one_token() -> None:
    logits = torch.randn(3, 5)
    before = logits.clone()
    force(logits, [0, 2], [4, 1])
    assert logits[0].tolist() == [float("-inf")] * 4 + [0.0]
    assert logits[2].argmax() == 1
    assert torch.equal(logits[1], before[1])


def test_rows_without_weight_and_too_many_candidates_are_refused() -> None:
    with pytest.raises(ValueError, match="no weight"):
        draw(torch.zeros(1, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="candidates"):
        draw(torch.ones(1, (1 << 18) + 1, dtype=torch.int64))
