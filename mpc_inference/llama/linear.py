"""Matrix times shared vector: with open weights, with weights that party 1 owns, and with weights that are shared themselves.

Open weights: every party multiplies its own share; nothing is opened.
Private weights W = E + B: E is known to whoever holds no plain W, the fixed mask B belongs to one version of the weights. A fresh mask
a = a0 + a1 belongs to one token; the dealer, who knows B and a but neither E nor x, shares -B a (owner: -B a0). One opening, c = x + a:

    shared  party 0: (E + B0) c - E a0     party 1: B1 c - E a1     and the shares of -B (a0 + a1)
    owner   party 0:          - E a0     party 1: W (c - a1)      and the shares of -B a0, B = B1

Sum: W c - W a. E a_i depends on no input, so it is computed ahead. Adversary: one semi-honest process; W and x stay private as long as the
dealer works with neither party. In owner mode the dealer and party 1 together know x, the dealer and party 0 W.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mpc_inference.llama.arithmetic import Arithmetic
from mpc_inference.llama.supply import Supply
from mpc_inference.native.core import U64, Core

TENSORS = ("qkv", "out", "gate_up", "down", "embedding", "head", "prefix_k", "prefix_v")  # the place of a name is its mask's counter


@dataclass(frozen=True)
class Matrix:
    """An integer matrix: row o stands for weight[o] * factor[o] / 2^fraction bits."""

    weight: NDArray[np.int16]
    factor: NDArray[np.uint64]

    def times(self, core: Core, x: U64) -> U64:
        """x (rows, columns) times the matrix transposed, modulo 2^64."""
        return core.gemm(self.weight, np.ascontiguousarray(x)) * self.factor

    def words(self) -> U64:
        """The matrix itself, as ring integers."""
        return np.asarray(self.weight.astype(np.int64).view(np.uint64) * self.factor[:, None])


class Linear(Protocol):
    """Own share of the product `name` of a layer."""

    def __call__(self, name: str, layer: int, x: U64, have: Supply) -> U64: ...


@dataclass(frozen=True)
class OpenWeights:
    """Weights that everybody knows: local."""

    core: Core
    matrices: Mapping[str, tuple[Matrix, ...]]

    def __call__(self, name: str, layer: int, x: U64, have: Supply) -> U64:
        return self.matrices[name][layer].times(self.core, x)


class Holding(Protocol):
    """What a party knows of private weights."""

    def ahead(self, name: str, layer: int, mask: U64) -> U64:
        """The part that depends on this party's masks (rows, columns) only."""
        ...

    def online(self, name: str, layer: int, opened: U64, mask: U64) -> U64:
        """The part that depends on what was opened."""
        ...


@dataclass(frozen=True)
class OwnWeights:
    """Owner mode, party 1: plain weights."""

    core: Core
    matrices: Mapping[tuple[int, str], Matrix]

    def ahead(self, name: str, layer: int, mask: U64) -> U64:
        return np.zeros((len(mask), len(self.matrices[layer, name].weight)), np.uint64)

    def online(self, name: str, layer: int, opened: U64, mask: U64) -> U64:
        return self.matrices[layer, name].times(self.core, opened - mask)


@dataclass(frozen=True)
class MaskedWeights:
    """E, and in shared mode the seed of an own part of B (`seed` None: owner mode, party 0)."""

    core: Core
    masked: Mapping[tuple[int, str], U64]
    seed: bytes | None
    with_masked: bool

    def ahead(self, name: str, layer: int, mask: U64) -> U64:
        return -self.core.gemm(self.masked[layer, name].view(np.int64), np.ascontiguousarray(mask))

    def online(self, name: str, layer: int, opened: U64, mask: U64) -> U64:
        e = self.masked[layer, name]
        if self.seed is None:
            return np.zeros((len(opened), len(e)), np.uint64)
        return self.core.gemm_masked(
            self.seed, TENSORS.index(name), layer, e if self.with_masked else None, np.ascontiguousarray(opened), len(e)
        )


@dataclass(frozen=True)
class PrivateWeights:
    """The product with private weights: one opening."""

    arithmetic: Arithmetic
    holding: Holding

    def __call__(self, name: str, layer: int, x: U64, have: Supply) -> U64:
        mask = have.masks(name + "_input")
        (opened,) = self.arithmetic.open((name.replace("_", " ") + " input", x + mask, 64))
        return self.holding.online(name, layer, opened, mask) + have.ahead(name) + have.shareds(name + "_product")


Correlate = Callable[[str, int, U64, U64], U64]  # the dealer's -B a from (name, layer, a0, a1), vectors


@dataclass(frozen=True)
class FixedMasks:
    """The dealer's side: B, and whether party 1's mask counts (shared) or not (owner)."""

    core: Core
    masks: Mapping[tuple[int, str], U64]
    shared: bool

    def __call__(self, name: str, layer: int, a0: U64, a1: U64) -> U64:
        a = a0 + a1 if self.shared else a0
        out: U64 = self.core.gemm(self.masks[layer, name].view(np.int64), np.ascontiguousarray(a)[None])[0]
        return -out
