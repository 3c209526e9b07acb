"""One exact draw from integer weights, with randomness from the operating system.

Called once a decoding step for each group of rows that share parameters. Tensors stay on the device of the logits; only the
sums of the weights and the random thresholds cross to the host. `random_below` is `secrets.randbelow` in production (the
operating system's source, uniform without modulo bias); the statistical tests inject a seeded one.

Not covered: a device that answers wrongly, timing.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

import torch

from .weights import GRID_STEPS, MAX_CANDIDATES

RandomBelow = Callable[[int], int]
operating_system_randomness: RandomBelow = secrets.randbelow


def grid_distances(logits: torch.Tensor, clip: float, excluded: Sequence[int]) -> torch.Tensor:
    """Distance of each logit under its row's best one, clipped to `clip` and rounded to the grid.

    Args:
        logits: [rows, vocabulary] floating point; NaN counts as the worst, the excluded tokens take no part.
        clip: C > 0, in logits.
        excluded: one token id a row that can't be drawn.

    Returns:
        int64 [rows, vocabulary], each 0 (best) to GRID_STEPS (C or more below it).
    """
    u = logits.to(torch.float32, copy=True)
    u[torch.arange(u.shape[0], device=u.device), torch.as_tensor(excluded, device=u.device)] = float("-inf")
    best = u.amax(dim=-1, keepdim=True)  # NaN where the row holds one
    if not bool(torch.isfinite(best).all()):
        u = torch.nan_to_num(u, nan=float("-inf"), posinf=torch.finfo(torch.float32).max, neginf=float("-inf"))
        best = u.amax(dim=-1, keepdim=True)
        # A row of -inf alone gives NaN everywhere: every token counts as best, a constant of the input.
        u = torch.nan_to_num(best - u, nan=0.0, posinf=float("inf"))
        return u.mul_(GRID_STEPS / clip).clamp_(max=float(GRID_STEPS)).round_().long()
    return torch.sub(best, u, out=u).mul_(GRID_STEPS / clip).clamp_(max=float(GRID_STEPS)).round_().long()


def draw(weights: torch.Tensor, random_below: RandomBelow = operating_system_randomness) -> list[int]:
    """Draw one index a row with probability exactly weights[row, index] / weights[row].sum().

    Args:
        weights: int64 [rows, candidates], non-negative, each row's sum positive and under 2^63.

    Raises:
        ValueError: more than 2^18 candidates (the sum could overflow), or a row without weight.
    """
    if weights.shape[-1] > MAX_CANDIDATES:
        raise ValueError(f"at most {MAX_CANDIDATES} candidates")
    cumulative = weights.cumsum(dim=-1)
    totals = cumulative[:, -1].tolist()
    if min(totals) <= 0:
        raise ValueError("a row has no weight")
    thresholds = torch.tensor([[random_below(total)] for total in totals], dtype=torch.int64, device=weights.device)
    return [int(i) for i in torch.searchsorted(cumulative, thresholds, right=True).squeeze(-1).tolist()]


def exponential_row_weights(distances: torch.Tensor, table: torch.Tensor, excluded: Sequence[int]) -> torch.Tensor:
    """Weights of the exponential mechanism: table[distance], and 0 for the excluded token. int64 [rows, vocabulary]."""
    weights = table.index_select(0, distances.view(-1)).view(distances.shape)
    weights[torch.arange(weights.shape[0], device=weights.device), torch.as_tensor(excluded, device=weights.device)] = 0
    return weights


def argmax_row_weights(logits: torch.Tensor, best: int, other: int, excluded: Sequence[int]) -> torch.Tensor:
    """Weights of k-ary randomised response: `best` for the argmax, `other` elsewhere, 0 for the excluded token.

    NaN logits never win; a row without a finite logit has token 0 (or 1, if 0 is excluded) as its best. int64 [rows, vocabulary].
    """
    u = logits.to(torch.float32, copy=True)
    rows = torch.arange(u.shape[0], device=u.device)
    barred = torch.as_tensor(excluded, device=u.device)
    u[rows, barred] = float("-inf")
    if not bool(torch.isfinite(u.amax(dim=-1)).all()):
        u = torch.nan_to_num(u, nan=torch.finfo(torch.float32).min, neginf=torch.finfo(torch.float32).min)
        u[rows, barred] = float("-inf")
    weights = torch.full(u.shape, other, dtype=torch.int64, device=u.device)
    weights[rows, u.argmax(dim=-1)] = best
    weights[rows, barred] = 0
    return weights


def force(logits: torch.Tensor, rows: Sequence[int], tokens: Sequence[int]) -> None:
    """Leave one token a row possible, in place: logit 0 for it and -inf for all others, so that nothing later has a choice."""
    index = torch.as_tensor(rows, device=logits.device)
    logits[index] = float("-inf")
    logits[index, torch.as_tensor(tokens, device=logits.device)] = 0.0
