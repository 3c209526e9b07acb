"""The dealer's state of one session: one token's messages after another, for open or for private weights.

The masks of cached keys and values accumulate here; they belong to (session, position). Nothing is kept between sessions except the fixed
masks of private weights, which belong to their version.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpc_inference.llama.artifact import Artifact
from mpc_inference.llama.deal import deal_answer, deal_entrance, deal_layer
from mpc_inference.llama.linear import Correlate, FixedMasks
from mpc_inference.llama.masked import DealerModel
from mpc_inference.llama.shape import LlamaShape
from mpc_inference.native.core import U64, Core

Messages = tuple[bytes, bytes]


@dataclass(frozen=True)
class Recipe:
    """What the dealer must know of a model."""

    core: Core
    shape: LlamaShape
    prefix_tokens: tuple[int, ...]
    digest: str
    correlate: Correlate | None = None
    key_masks: U64 | None = None
    value_masks: U64 | None = None

    @staticmethod
    def public(core: Core, model: Artifact) -> Recipe:
        """For open weights."""
        return Recipe(core, model.shape, model.prefix_tokens, model.digest)

    @staticmethod
    def private(core: Core, model: DealerModel) -> Recipe:
        """For private weights."""
        card = model.card
        correlate = FixedMasks(core, model.masks, card.mode == "shared")
        return Recipe(core, card.shape, card.prefix_tokens, card.digest, correlate, model.key_masks, model.value_masks)

    def answer(self, seeds: tuple[bytes, bytes]) -> Messages:
        """For one drawn token; the seeds belong to it alone. Private weights only."""
        assert self.correlate is not None
        return deal_answer(self.core, self.shape, seeds, self.correlate)


class SessionDealing:
    """One session: `next` deals the next position."""

    def __init__(self, recipe: Recipe, prefix: int, seeds: tuple[bytes, bytes]) -> None:
        self._recipe, self._seeds, self.position = recipe, seeds, prefix
        self._public = prefix if recipe.correlate is None else 0
        shape = recipe.shape
        self._masks = [np.zeros((shape.layers, 0, shape.kv_width), np.uint64) for _ in "kv"]
        if recipe.key_masks is not None and recipe.value_masks is not None:
            self._masks = [m[:, :prefix].copy() for m in (recipe.key_masks, recipe.value_masks)]

    def next(self) -> Messages:
        """Messages for the token at `position`, which moves on."""
        recipe, shape, own = self._recipe, self._recipe.shape, self.position - self._public + 1
        if self._masks[0].shape[1] < own:
            grown = [np.zeros((shape.layers, -(-own // 64) * 64, shape.kv_width), np.uint64) for _ in "kv"]
            for new, old in zip(grown, self._masks, strict=True):
                new[:, : old.shape[1]] = old
            self._masks = grown
        keys, values = self._masks
        made = [
            deal_layer(recipe.core, shape, i, self._public, self.position, self._seeds, keys[i], values[i], recipe.correlate)
            for i in range(shape.layers)
        ]
        if recipe.correlate is not None:
            made.append(deal_entrance(recipe.core, shape, self.position, self._seeds, recipe.correlate))
        self.position += 1
        return b"".join(m[0] for m in made), b"".join(m[1] for m in made)
