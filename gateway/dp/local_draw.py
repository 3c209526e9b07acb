"""The token mechanism where the logits stand in the gateway's own process: the secret-shared path.

The same grid, the same integer tables and the same claim as in the model server (`vllm_plugin`), on one row of NumPy. The last token of the
vocabulary is left out here too, so that a policy's claim means the same on both paths. Randomness is the operating system's.

Not covered: how long a draw takes; what the parties see (lengths and times; never a token or a logit).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.dp.vllm_plugin.weights import GRID_STEPS, MAX_CANDIDATES, argmax_weights, exponential_weights
from policies.dp import TokenRule


@lru_cache(maxsize=64)
def _table(clip: float, temperature: float) -> NDArray[np.int64]:
    return np.array(exponential_weights(clip, temperature), dtype=np.int64)


def row_weights(rule: TokenRule, logits: NDArray[Any]) -> NDArray[np.int64]:
    """The integer weight of each token, 0 for the last one. `logits`: one row, any float dtype; NaN counts as the worst.

    Raises ValueError where the policy's vocabulary is another one, or there are more tokens than the sum of weights can hold.
    """
    if logits.ndim != 1 or not 2 <= logits.size <= MAX_CANDIDATES or rule.vocabulary_size not in (None, logits.size):
        raise ValueError("the logits are not one row over the policy's vocabulary")
    limit = np.finfo(np.float64).max
    u = np.nan_to_num(logits.astype(np.float64), nan=-np.inf, posinf=limit, neginf=-np.inf)
    u[-1] = -np.inf
    if rule.selection == "argmax":
        assert rule.epsilon_per_token is not None  # the rule's own validation
        best, other = argmax_weights(rule.epsilon_per_token)
        weights = np.full(u.size, other, dtype=np.int64)
        weights[int(u[:-1].argmax())] = best
    else:
        assert rule.clip is not None
        assert rule.temperature is not None
        with np.errstate(invalid="ignore", over="ignore"):
            below = (u.max() - u) * (GRID_STEPS / rule.clip)
        # A row of -inf alone gives NaN everywhere: every token counts as best, a constant of the input.
        distances = np.rint(np.nan_to_num(below, nan=0.0, posinf=GRID_STEPS).clip(0, GRID_STEPS)).astype(np.int64)
        weights = _table(rule.clip, rule.temperature)[distances]
    weights[-1] = 0
    return weights


def draw_token(rule: TokenRule, logits: NDArray[Any], random_below: Callable[[int], int] = secrets.randbelow) -> int:
    """One token id with probability exactly weight / sum of weights. Raises as `row_weights`."""
    cumulative = np.cumsum(row_weights(rule, logits))
    return int(np.searchsorted(cumulative, random_below(int(cumulative[-1])), side="right"))
