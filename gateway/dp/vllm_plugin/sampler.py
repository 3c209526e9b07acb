"""Draws the next token of every private row of a batch, whichever of vLLM's two interfaces handed it over.

Flow: an interface (`runner_v1`, `runner_gpu`) gives `apply` the logits and, for each row, its arguments and the number of
tokens that the request has so far. Rows with the same parameters are drawn together; the rows of one ensemble are pooled
and get one shared draw; every drawn row is left with a single possible token.

Not covered: a row whose arguments contradict the served model (vocabulary, sentinel) gets its sentinel, which
ends the request before anything was drawn from it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from .agreement import Agree, alone
from .draw import (
    RandomBelow,
    argmax_row_weights,
    draw,
    exponential_row_weights,
    force,
    grid_distances,
    operating_system_randomness,
)
from .handshake import LENGTH, ProvenModel, proof
from .request import PrivateSampling
from .weights import argmax_weights, exponential_weights


@dataclass(frozen=True, slots=True)
class PrivateRow:
    """One row of the logits: its index, its request's arguments, and how many tokens the request has so far."""

    row: int
    sampling: PrivateSampling
    step: int


@lru_cache(maxsize=64)
def _table(clip: float, temperature: float, groups: int, crosstalk: float, device: str) -> torch.Tensor:
    return torch.tensor(exponential_weights(clip, temperature, groups, crosstalk), dtype=torch.int64, device=device)


class PrivateSampler:
    """Holds no state between steps.

    `interface` is 1 or 2 (see `handshake`), `random_below` the source of randomness. `agree` makes one draw of those of several
    processes that each hold the same logits (see `agreement`); alone, a process keeps its own.
    """

    def __init__(self, interface: int, random_below: RandomBelow = operating_system_randomness, agree: Agree = alone) -> None:
        self._interface = interface
        self._random_below = random_below
        self._agree = agree

    def apply(self, logits: torch.Tensor, rows: Sequence[PrivateRow]) -> None:
        """Draw for every row, in place. `logits`: [batch rows, vocabulary], floating point."""
        single: dict[tuple[object, ...], list[PrivateRow]] = defaultdict(list)
        ensembles: dict[str, list[PrivateRow]] = defaultdict(list)
        for row in rows:
            sampling = row.sampling
            if sampling.kind == "handshake":
                ids = proof(sampling.nonce, ProvenModel(logits.shape[-1], self._interface))
                force(logits, [row.row], [ids[row.step % LENGTH]])
            elif not self._fits(sampling, logits.shape[-1]):
                force(logits, [row.row], [min(sampling.sentinel, logits.shape[-1] - 1)])
            elif sampling.kind == "ensemble":
                ensembles[sampling.ensemble].append(row)
            else:
                single[(sampling.kind, sampling.clip, sampling.temperature, sampling.epsilon)].append(row)
        for same in single.values():
            self._draw_single(logits, same)
        for members in ensembles.values():
            self._draw_ensemble(logits, members)

    def _fits(self, sampling: PrivateSampling, vocabulary: int) -> bool:
        return sampling.sentinel < vocabulary and sampling.vocabulary in (0, vocabulary)

    def _draw_single(self, logits: torch.Tensor, rows: list[PrivateRow]) -> None:
        # A CPU is faster row by row: whole batches of 64-bit weights fall out of its caches, and into fresh pages each time.
        tokens = [t for part in ([[row] for row in rows] if logits.device.type == "cpu" else [rows]) for t in self._drawn(logits, part)]
        force(logits, [row.row for row in rows], self._agree(tokens))

    def _drawn(self, logits: torch.Tensor, rows: list[PrivateRow]) -> list[int]:
        index = [row.row for row in rows]
        excluded = [row.sampling.sentinel for row in rows]
        sampling = rows[0].sampling
        own = logits[index[0] : index[0] + 1] if len(index) == 1 else logits[index]
        if sampling.kind == "argmax":
            best, other = argmax_weights(sampling.epsilon)
            weights = argmax_row_weights(own, best, other, excluded)
        else:
            table = _table(sampling.clip, sampling.temperature, 1, 0.0, str(logits.device))
            weights = exponential_row_weights(grid_distances(own, sampling.clip, excluded), table, excluded)
        return draw(weights, self._random_below)

    def _draw_ensemble(self, logits: torch.Tensor, rows: list[PrivateRow]) -> None:
        """One draw for all rows of an ensemble: the sum of the groups' grid distances stands for their mean utility.

        Every row must be here, at the same step, with the same arguments; else every row gets the sentinel, and the answer ends.
        """
        index = [row.row for row in rows]
        sampling = rows[0].sampling
        together = len(rows) == sampling.groups and all(r.sampling == sampling and r.step == rows[0].step for r in rows)
        if not together:
            force(logits, index, [row.sampling.sentinel for row in rows])
            return
        excluded = [sampling.sentinel] * len(rows)
        total = grid_distances(logits[index], sampling.clip, excluded).sum(dim=0, keepdim=True)
        table = _table(sampling.clip, sampling.temperature, sampling.groups, sampling.crosstalk, str(logits.device))
        token = self._agree(draw(exponential_row_weights(total, table, [sampling.sentinel]), self._random_below))[0]
        force(logits, index, [token] * len(rows))
