"""A party's engine for one prepared model: what goes in for a token, what comes out for an answer.

Open weights: in go shares of an embedding, out come shares of the last hidden state; the caller has embedding and head. Private
weights: in goes a key of the secret token, out come shares of the drawn token's number (or, where the deployment says so, of the logits).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mpc_inference import onehot, prg
from mpc_inference.ledger import Ledger
from mpc_inference.llama import answer, entrance
from mpc_inference.llama.answer import Bundle
from mpc_inference.llama.arithmetic import Arithmetic, Exchange
from mpc_inference.llama.artifact import Artifact
from mpc_inference.llama.layout import Layout, answer_layout, entrance_layout, layer_products, layout, view
from mpc_inference.llama.linear import OpenWeights, PrivateWeights
from mpc_inference.llama.masked import PartyModel
from mpc_inference.llama.on_shares import SharedLlama, rope_tables
from mpc_inference.llama.shape import LlamaShape
from mpc_inference.llama.supply import Cache, Products, Row
from mpc_inference.native.core import U8, U64, Core
from mpc_inference.nonlinear import exponential, silu


@dataclass(frozen=True)
class Dealt:
    """What arrived from the dealer for one token (position) or one answer (position None)."""

    seed: bytes
    position: int | None
    message: U8


@dataclass(frozen=True)
class End:
    """A row after which the caller waits for an answer. bundle: with private weights."""

    row: int
    temperature: int = 0
    bundle: Bundle | None = None


class Engine(Protocol):
    """What a party's process drives."""

    @property
    def row_bytes(self) -> int:
        """What a caller sends to this party for one token."""
        ...

    @property
    def needs_bundles(self) -> bool:
        """Whether an answer takes randomness of its own."""
        ...

    def new_cache(self, prefix: int) -> Cache:
        """The cache of a session whose first `prefix` tokens are the public template's."""
        ...

    def public_rows(self, prefix: int) -> int:
        """How many of those stand in the clear."""
        ...

    def work_ahead(self, dealt: Sequence[Dealt]) -> list[Products]:
        """What this party can compute from randomness alone."""
        ...

    def run(self, rows: Sequence[Row], inputs: U8, ends: Sequence[End]) -> list[bytes]:
        """One pass: inputs (rows, row_bytes); own shares of an answer for each end."""
        ...


class PublicEngine:
    """Open weights."""

    needs_bundles = False

    def __init__(self, core: Core, party: int, model: Artifact, exchange: Exchange, ledger: Ledger) -> None:
        self._shape, self.row_bytes = model.shape, model.shape.hidden * 8
        arithmetic = Arithmetic(core, party, exchange, ledger)
        linear = OpenWeights(core, model.matrices)
        self._llama = SharedLlama(arithmetic, linear, model.shape, model.layers, model.prefix_k, model.prefix_v, private=False)

    def new_cache(self, prefix: int) -> Cache:
        return Cache(self._shape.layers, self._shape.kv_width)

    def public_rows(self, prefix: int) -> int:
        return prefix

    def work_ahead(self, dealt: Sequence[Dealt]) -> list[Products]:
        return [{} for _ in dealt]

    def run(self, rows: Sequence[Row], inputs: U8, ends: Sequence[End]) -> list[bytes]:
        out = self._llama.forward(rows, np.ascontiguousarray(inputs).view(np.uint64))
        return [out[end.row].tobytes() for end in ends]


class PrivateEngine:
    """Weights that are shared, or that party 1 owns."""

    needs_bundles = True

    def __init__(self, core: Core, party: int, model: PartyModel, exchange: Exchange, ledger: Ledger, reveal_logits: bool) -> None:
        self._model, self._party, self._reveal_logits = model, party, reveal_logits
        self._shape = shape = model.card.shape
        self.row_bytes = onehot.key_bytes(shape.vocab)
        self._arithmetic = Arithmetic(core, party, exchange, ledger)
        self._linear = PrivateWeights(self._arithmetic, model.holding)
        nothing = [np.zeros((0, shape.kv_width), np.uint64)] * shape.layers
        self._llama = SharedLlama(self._arithmetic, self._linear, shape, model.card.layers, nothing, nothing, private=True)

    def new_cache(self, prefix: int) -> Cache:
        cache = Cache(self._shape.layers, self._shape.kv_width)
        cache.room(prefix + 1)
        for name, words in self._model.prefix.items():
            cache.arrays[name][:, :prefix] = words[:, :prefix]
        return cache

    def public_rows(self, prefix: int) -> int:
        return 0

    def work_ahead(self, dealt: Sequence[Dealt]) -> list[Products]:
        """The products of own masks with the masked weights, all tokens together: the weights are read once."""
        tokens = [i for i, d in enumerate(dealt) if d.position is not None]
        answers = [i for i, d in enumerate(dealt) if d.position is None]
        out: list[dict[tuple[int, str], U64]] = [{} for _ in dealt]
        shape = self._shape
        any_layer = layout(shape, 0, 1, True)  # the input masks stand first, wherever the token stands
        for layer in range(shape.layers):
            for name in layer_products(shape):
                self._multiply(dealt, tokens, out, any_layer, layer, layer, name)
        self._multiply(dealt, tokens, out, entrance_layout(shape), shape.layers, shape.layers, "embedding")
        self._multiply(dealt, answers, out, answer_layout(shape), 0, shape.layers, "head")
        return list(out)

    def _multiply(
        self,
        dealt: Sequence[Dealt],
        which: Sequence[int],
        out: list[dict[tuple[int, str], U64]],
        plan: Layout,
        stream: int,
        layer: int,
        name: str,
    ) -> None:
        if not which:
            return
        item = plan.masks[name + "_input"]
        masks = np.stack([view(prg.stream(dealt[i].seed, dealt[i].position or 0, stream, item.stop), item) for i in which])
        for i, words in zip(which, self._model.holding.ahead(name, layer, masks.astype(np.uint64, copy=False)), strict=True):
            out[i][layer, name] = words

    def run(self, rows: Sequence[Row], inputs: U8, ends: Sequence[End]) -> list[bytes]:
        hidden = self._llama.forward(rows, entrance.embed(self._arithmetic, self._linear, self._shape, rows, inputs))
        if not ends:
            return []
        bundles = [end.bundle for end in ends if end.bundle is not None]
        assert len(bundles) == len(ends)
        chosen = hidden[[end.row for end in ends]]
        scores, left = answer.logits(self._arithmetic, self._linear, self._shape, self._model.card.final_norm, chosen, bundles)
        if self._reveal_logits:
            return [one.tobytes() for one in scores]
        drawn = answer.draw(self._arithmetic, scores, [end.temperature for end in ends], left)
        return [one.tobytes() for one in drawn]


def tables_digest(shape: LlamaShape) -> str:
    """SHA-256 over every public table that a party computes from floating point: both must hold the same integers."""
    digest = hashlib.sha256()
    for table in (*rope_tables(shape), silu.table(), *exponential.tables()):
        digest.update(np.ascontiguousarray(table).tobytes())
    return digest.hexdigest()
