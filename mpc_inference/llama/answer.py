"""The next token on shares: last norm, private head, optional noise, and a tournament whose winner's number stays shared.

The score of token j is logit_j + T g_j with the dealer's Gumbel noise g_j (known to no party): the arg max is then a draw at
temperature T (Gumbel, 1954; T = 0 is the arg max). Each match opens one masked difference (compare.py); its bit picks the larger value
in the same round, and the winner's number in the next, by a Beaver product. Rounds: 4 (norm) + 1 (head) + ceil(log2 vocabulary) + 1.
Ties go to the lower number of a pair. It does NOT offer top-p, and scores beyond +-128 wrap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpc_inference import prg
from mpc_inference.llama import scales
from mpc_inference.llama.arithmetic import Arithmetic
from mpc_inference.llama.layout import answer_layout
from mpc_inference.llama.linear import Linear
from mpc_inference.llama.norm import norm
from mpc_inference.llama.shape import LlamaShape
from mpc_inference.llama.supply import Products, Supply
from mpc_inference.native.core import U8, U32, U64
from mpc_inference.nonlinear import compare

TEMPERATURE_FRACTION = 6  # a temperature is a public multiple of 1/64
LOGIT = scales.HIDDEN + scales.WEIGHT_BITS["head"]  # fraction bits of a logit as the head leaves it
NOISE = LOGIT - TEMPERATURE_FRACTION


@dataclass
class Bundle:
    """The randomness of one answer at one party; used once."""

    seed: bytes
    message: U8
    products: Products


def gumbel(count: int) -> U64:
    """Gumbel noise at NOISE fraction bits from 53-bit uniforms of a fresh operating-system seed: between -3.7 and 36.8."""
    uniform = ((prg.uniform_words(count) >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53
    return np.asarray(np.rint(-np.log(-np.log(uniform)) * 2**NOISE).astype(np.int64).view(np.uint64))


def logits(
    arithmetic: Arithmetic, linear: Linear, shape: LlamaShape, norm_bits: int, x: U64, bundles: Sequence[Bundle]
) -> tuple[U64, list[Supply]]:
    """Own shares (rows, vocab) at LOGIT fraction bits of the logits of hidden states x (rows, hidden), and what is left of the bundles."""
    plan = answer_layout(shape)
    streams = [prg.stream(b.seed, 0, 0, plan.stream_bytes(arithmetic.party)) for b in bundles]
    ahead = [{name: words for (_, name), words in b.products.items()} for b in bundles]
    messages = [b.message for b in bundles]
    have = Supply(arithmetic.party, [plan] * len(bundles), streams, messages, ahead)
    h = norm(arithmetic, shape, x, have, "3", norm_bits)
    one_each = [Supply(arithmetic.party, [plan], [s], [m], []) for s, m in zip(streams, messages, strict=True)]
    return linear("head", shape.layers, h, have), one_each


def draw(arithmetic: Arithmetic, scores: U64, temperature: Sequence[int], have: Sequence[Supply]) -> U32:
    """Own shares (rows,) modulo 2^32 of the drawn tokens; temperature in 1/64. The rows run through the tournament together."""
    noise: U64 = np.stack([h.shared(0, "noise") for h in have])
    scale: U64 = np.array(temperature, np.uint64)[:, None]
    noisy = scores + noise * scale
    value = arithmetic.shift(noisy, LOGIT - compare.FRACTION_BITS).astype(np.uint32)
    numbers = _Numbers(arithmetic, value.shape[1], have)
    used = 0
    while value.shape[1] > 1:
        pairs = value.shape[1] // 2
        u, v, odd = value[:, 0 : 2 * pairs : 2], value[:, 1 : 2 * pairs : 2], value[:, 2 * pairs :]
        mask = _slice(have, "pair", used, pairs)
        opened, *late = arithmetic.open(("difference", u - v + mask, compare.BITS), *numbers.due())
        numbers.settle(late)
        bits, larger = [], []
        for i, h in enumerate(have):
            at = slice(used, used + pairs)
            root, tree, payload = h.mask(0, "pair_root")[at], h.key(0, "pair_tree")[at], h.key(0, "pair_payload")[at]
            beside = h.shared(0, "pair_beside")[:, at]
            bit, best = compare.evaluate(
                arithmetic.core, arithmetic.party, opened[i].astype(np.uint32), mask[i], root, tree, payload, beside, v[i]
            )
            bits.append(bit)
            larger.append(best)
        numbers.played(np.stack(bits))
        value = np.concatenate([np.stack(larger), odd], 1)
        used += pairs
    if due := numbers.due():
        numbers.settle(arithmetic.open(*due))
    return numbers.shares[:, 0]


def _slice(have: Sequence[Supply], name: str, start: int, count: int) -> U32:
    return np.stack([h.mask(0, name)[start : start + count] for h in have])


class _Numbers:
    """Shares (rows, contestants) of who is still in. A round's bits are applied while the next round opens its differences."""

    def __init__(self, arithmetic: Arithmetic, contestants: int, have: Sequence[Supply]) -> None:
        self._arithmetic, self._have, self._used = arithmetic, have, 0
        all_of_them = np.arange(contestants, dtype=np.uint32) * np.uint32(arithmetic.first)
        self.shares: U32 = np.repeat(all_of_them[None], len(have), 0)
        self._public, self._bits = True, np.zeros((len(have), 0), np.uint32)

    def played(self, bits: U32) -> None:
        """The bits of a round: 1 where the even one of a pair won."""
        if self._public:  # the first round: a pair is (2k, 2k + 1), so its winner is 2k + 1 - bit, locally
            pairs = bits.shape[1]
            self.shares = np.concatenate([self.shares[:, 1 : 2 * pairs : 2] - bits, self.shares[:, 2 * pairs :]], 1)
            self._public = False
        else:
            self._bits = bits

    def due(self) -> list[tuple[str, U32, int]]:
        """What must be opened to apply the last bits."""
        pairs = self._bits.shape[1]
        if pairs == 0:
            return []
        self._step = self.shares[:, 0 : 2 * pairs : 2] - self.shares[:, 1 : 2 * pairs : 2]
        self._masks = [_slice(self._have, name, self._used, pairs) for name in ("winner", "step")]
        return [("winner", self._bits + self._masks[0], 32), ("step", self._step + self._masks[1], 32)]

    def settle(self, opened: Sequence[U64]) -> None:
        """Apply the last bits: the product of bit and step, by Beaver."""
        if not opened:
            return
        pairs = self._bits.shape[1]
        bit, step = (o.astype(np.uint32) for o in opened)
        cross = np.stack([h.shared(0, "winner_step")[self._used : self._used + pairs] for h in self._have])
        product = cross - bit * self._masks[1] - step * self._masks[0]
        if self._arithmetic.first:
            product = product + bit * step
        self.shares = np.concatenate([self.shares[:, 1 : 2 * pairs : 2] + product, self.shares[:, 2 * pairs :]], 1)
        self._used += pairs
        self._bits = self._bits[:, :0]
