"""The gateway's own draw is the model server's: the same weights on the same logits, and the same claim."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.dp.auditor import epsilon_lower_bound
from gateway.dp.local_draw import draw_token, row_weights
from gateway.dp.loss import exponential_epsilon
from gateway.dp.vllm_plugin.draw import argmax_row_weights, exponential_row_weights, grid_distances
from gateway.dp.vllm_plugin.weights import argmax_weights, exponential_weights
from policies.dp import TokenRule

V = 300
EXPONENTIAL = TokenRule(kind="token", clip=8.0, temperature=1.0, max_tokens=5)
ARGMAX = TokenRule(kind="token", selection="argmax", epsilon_per_token=3.0, max_tokens=5)


@given(seed=st.integers(0, 10_000), spread=st.floats(0.1, 40.0))
@settings(max_examples=30, deadline=None)
def test_weights_are_those_of_the_model_server(seed: int, spread: float) -> None:
    logits = np.random.default_rng(seed).normal(0.0, spread, V).astype(np.float32)
    row = torch.tensor(logits)[None]
    table = torch.tensor(exponential_weights(8.0, 1.0))
    theirs = exponential_row_weights(grid_distances(row, 8.0, [V - 1]), table, [V - 1])[0].numpy()
    ours = row_weights(EXPONENTIAL, logits)
    # float32 and float64 may round to neighbouring grid points; a step of the grid is e^(8/4096).
    assert np.all(np.abs(np.log(np.maximum(ours, 1)) - np.log(np.maximum(theirs, 1))) <= 8.0 / 4096 * 1.01)
    assert ours[-1] == theirs[-1] == 0
    best, other = argmax_weights(3.0)
    assert np.array_equal(row_weights(ARGMAX, logits), argmax_row_weights(row, best, other, [V - 1])[0].numpy())


@pytest.mark.parametrize("rule", [EXPONENTIAL, ARGMAX])
@pytest.mark.parametrize("fill", [np.nan, -np.inf, np.inf, 0.0])
def test_broken_logits_still_give_a_draw_within_the_bounds(rule: TokenRule, fill: float) -> None:
    weights = row_weights(rule, np.full(V, fill, dtype=np.float32))
    assert weights[:-1].min() > 0
    assert weights[-1] == 0
    assert 0 <= draw_token(rule, np.full(V, fill, dtype=np.float32)) < V - 1


def test_every_threshold_maps_to_the_token_that_owns_it() -> None:
    logits = np.array([0.0, -1.0, -2.0, 5.0], dtype=np.float32)
    weights = row_weights(EXPONENTIAL, logits)
    edges = np.cumsum(weights)
    for token in range(3):
        assert draw_token(EXPONENTIAL, logits, lambda total, t=token: int(edges[t]) - 1) == token
    assert draw_token(EXPONENTIAL, logits, lambda total: 0) == 0


def test_another_vocabulary_than_the_policys_is_refused() -> None:
    rule = EXPONENTIAL.model_copy(update={"vocabulary_size": V + 1})
    with pytest.raises(ValueError, match="vocabulary"):
        row_weights(rule, np.zeros(V, dtype=np.float32))
    with pytest.raises(ValueError, match="row"):
        row_weights(EXPONENTIAL, np.zeros((2, V), dtype=np.float32))


def test_the_auditor_finds_no_more_than_the_claim() -> None:
    """At a false-alarm rate of 1e-6, fixed seed; and no less than 0.6 of it."""
    rule = TokenRule(kind="token", clip=2.0, temperature=1.0, max_tokens=1)
    source = random.Random(21).randrange
    best = np.array([0, -50, -50, -50, -50, 9], dtype=np.float32)
    worst = np.array([-50, 0, 0, 0, 0, 9], dtype=np.float32)
    first, second = ([draw_token(rule, logits, source) for _ in range(8000)] for logits in (best, worst))
    claim = exponential_epsilon(2.0, 1.0, 5)
    assert 0.6 * claim < epsilon_lower_bound(first, second, alpha=1e-6) <= claim
