"""One Llama forward pass on additive shares: what a party computes, and what the two parties open.

Straight-line, a layer at a time, eighteen rounds a layer; every opened value is masked by a word
that neither party knows. Shapes: rows are
tokens (of one or of several sessions), x is (rows, hidden) shares modulo 2^64 at scales.RESIDUAL fraction bits.
Adversary: one semi-honest party. It does NOT protect against a party that sends wrong words, nor
 against a party that works with the dealer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mpc_inference import lift, prg
from mpc_inference.ledger import Ledger
from mpc_inference.llama import scales
from mpc_inference.llama.artifact import Artifact, Matrix
from mpc_inference.llama.layout import Layout, layout, view
from mpc_inference.llama.plain import rope_angles
from mpc_inference.llama.shape import LlamaShape
from mpc_inference.native.core import U8, U64, Core
from mpc_inference.nonlinear import curve, exponential, silu, zero


class Exchange(Protocol):
    """Sends this party's bytes, answers the other's (as many)."""

    def __call__(self, mine: bytes) -> bytes: ...


def _low(bits: int) -> np.uint64:
    return np.uint64((1 << bits) - 1)


@dataclass
class Cache:
    """One session's keys and values at one party: opened (masked) words and own shares, (layers, capacity, kv_width)."""

    layers: int
    width: int
    arrays: dict[str, U64] = field(default_factory=dict)

    def room(self, own: int) -> None:
        """Make room for `own` positions."""
        for name in ("k_open", "k_share", "v_open", "v_share"):
            old = self.arrays.get(name)
            if old is None or old.shape[1] < own:
                grown = np.zeros((self.layers, -(-own // 64) * 64, self.width), np.uint64)
                if old is not None:
                    grown[:, : old.shape[1]] = old
                self.arrays[name] = grown


@dataclass
class Row:
    """One token: its session's cache and seed, its position, and the dealer's message for it (used up by one pass)."""

    cache: Cache
    seed: bytes
    position: int
    prefix: int
    message: U8

    @property
    def own(self) -> int:
        """Shared positions that this token sees, itself among them."""
        return self.position - self.prefix + 1


class _Material:
    """The items of one layer for all rows of a pass."""

    def __init__(self, party: int, rows: Sequence[Row], plans: Sequence[Layout], layer: int) -> None:
        self._plans, self._party = plans, party
        self._streams = [prg.stream(r.seed, r.position, layer, p.stream_bytes(party)) for r, p in zip(rows, plans, strict=True)]
        self._messages = [
            r.message[layer * p.message_bytes(party) : (layer + 1) * p.message_bytes(party)] for r, p in zip(rows, plans, strict=True)
        ]

    def mask(self, row: int, name: str) -> NDArray[Any]:
        return view(self._streams[row], self._plans[row].masks[name])

    def shared(self, row: int, name: str) -> NDArray[Any]:
        plan = self._plans[row]
        section = self._streams[row][plan.mask_bytes :] if self._party == 0 else self._messages[row][plan.key_bytes :]
        return view(section, plan.shared[name])

    def key(self, row: int, name: str) -> NDArray[Any]:
        return view(self._messages[row], self._plans[row].keys[name])

    def masks(self, name: str, bits: int = 64) -> U64:
        """(rows, ...) masks as words below 2^bits."""
        stacked = np.stack([self.mask(i, name) for i in range(len(self._plans))]).astype(np.uint64, copy=False)
        return stacked if bits == 64 else stacked & _low(bits)

    def shareds(self, name: str, axis: int = 0) -> U64:
        return np.stack([self.shared(i, name) for i in range(len(self._plans))], axis)

    def keys(self, name: str) -> U8:
        return np.concatenate([self.key(i, name) for i in range(len(self._plans))])

    def roots(self, name: str) -> NDArray[Any]:
        return np.concatenate([self.mask(i, name) for i in range(len(self._plans))])


def rope_tables(shape: LlamaShape) -> tuple[U64, U64]:
    """Integer cosines and sines (context, head_dim) at scales.ROPE fraction bits."""
    first, second = (np.rint(a * 2**scales.ROPE).astype(np.int64).view(np.uint64) for a in rope_angles(shape, np.arange(shape.context)))
    return first, second


def tables_digest(shape: LlamaShape) -> str:
    """SHA-256 over every public table that a party computes from floating point: both must hold the same integers."""
    digest = hashlib.sha256()
    for table in (*rope_tables(shape), silu.table(), *exponential.tables()):
        digest.update(np.ascontiguousarray(table).tobytes())
    return digest.hexdigest()


class SharedLlama:
    """One party's engine for a prepared model."""

    def __init__(self, core: Core, party: int, model: Artifact, exchange: Exchange, ledger: Ledger) -> None:
        self._core, self._party, self._model, self._exchange, self.ledger = core, party, model, exchange, ledger
        shape = model.shape
        self._rope = rope_tables(shape)
        self._root_bits = round(np.log2(np.sqrt(shape.head_dim)))

    def new_cache(self) -> Cache:
        """An empty cache for a new session."""
        return Cache(self._model.shape.layers, self._model.shape.kv_width)

    def forward(self, rows: Sequence[Row], x: U64) -> U64:
        """Own shares of the last hidden states (rows, hidden). Rows of one session stand in ascending position."""
        shape = self._model.shape
        plans = [layout(shape, r.prefix, r.own) for r in rows]
        for row in rows:
            row.cache.room(row.own)
        for layer in range(shape.layers):
            have = _Material(self._party, rows, plans, layer)
            scale = self._model.layers[layer]
            h = self._norm(x, have, "1", scale.norm1)
            x = x + self._product(self._model.out[layer], self._attention(h, have, rows, layer))
            h = self._norm(x, have, "2", scale.norm2)
            x = x + self._product(self._model.down[layer], self._gated(h, have, layer))
        return x

    def _open(self, *values: tuple[str, NDArray[Any], int]) -> list[U64]:
        """Open words (already masked shares) of the named bits in one round."""
        mine, sent = [], []
        for name, word, bits in values:
            dtype = np.uint16 if bits <= 16 else np.uint32 if bits <= 32 else np.uint64
            flat = (word & _low(bits)).astype(dtype)
            mine.append(flat)
            sent.append(flat.tobytes())
            self.ledger.record(name, flat.size, bits)
        answer = self._exchange(b"".join(sent))
        self.ledger.rounds += 1
        out, at = [], 0
        for (_, word, bits), flat in zip(values, mine, strict=True):
            theirs = np.frombuffer(answer, flat.dtype, flat.size, at).reshape(word.shape)
            at += flat.nbytes
            out.append((flat.astype(np.uint64) + theirs) & _low(bits))
        return out

    def _lift(self, name: str, x: U64, mask: U64, z: U64, bits: int) -> U64:
        (opened,) = self._open((name, self._raise(x, bits) + mask, bits))
        return lift.share(self._party, opened, mask, z, bits)

    def _raise(self, x: U64, bits: int) -> U64:
        return x + np.uint64(lift.offset(bits)) if self._party == 0 else x

    def _product(self, matrix: Matrix, x: U64) -> U64:
        """Own share of a public matrix times x (rows, columns): local."""
        return self._core.gemm(matrix.weight, np.ascontiguousarray(x)) * matrix.factor

    def _shift(self, x: U64, bits: int) -> U64:
        """Own share of x / 2^bits in the smaller ring. Both are rounded down, one unit together on average: party 0 gives it back."""
        down = x >> np.uint64(bits)
        return down + np.uint64(1) if self._party == 0 else down

    def _norm(self, x: U64, have: _Material, n: str, bits: int) -> U64:
        """x / sqrt(mean(x^2) + epsilon), without gain: four openings. Result (rows, hidden) modulo 2^64 at scales.HIDDEN."""
        shape, first = self._model.shape, self._party == 0
        ring = 64 - scales.RESIDUAL + bits
        a, b = have.masks("residual" + n), have.masks("inverse" + n)
        (c,) = self._open(("residual", self._shift(x, scales.RESIDUAL - bits) + a, ring))
        square = have.shareds("residual_square" + n)[:, 0] - np.uint64(2) * (c * a).sum(-1)
        if first:
            square = square + (c * c).sum(-1)
        drop = ring - curve.BITS
        (opened,) = self._open(("mean square", self._shift(square & _low(ring), drop) + have.masks("square" + n)[:, 0], curve.BITS))
        unit = 2.0 ** (drop - 2 * bits) / shape.hidden
        inverse = curve.evaluate(
            self._core,
            self._party,
            "inverse_square_root",
            unit,
            shape.rms_epsilon,
            scales.INVERSE_OUT,
            opened,
            have.roots("square_root" + n),
            have.keys("square_key" + n),
        )
        (i,) = self._open(("inverse root", self._shift(inverse, scales.INVERSE_OUT - scales.INVERSE)[:, None] + b, scales.NORM_RING))
        h = have.shareds("residual_inverse" + n) - i * a - c * b
        if first:
            h = h + c * i
        h = self._shift(h & _low(min(ring, scales.NORM_RING)), bits + scales.INVERSE - scales.HIDDEN)
        return self._lift("hidden", h, have.masks("hidden" + n, scales.HIDDEN_LIFT), have.shareds("hidden_wrap" + n, 1), scales.HIDDEN_LIFT)

    def _turn(self, x: U64, rows: Sequence[Row]) -> NDArray[Any]:
        """Rotary embedding on shares: x (rows, heads, head_dim), public integer angles."""
        positions = [r.position for r in rows]
        cosine, sine = (table[positions][:, None] for table in self._rope)
        half = x.shape[-1] // 2
        return x * cosine + np.concatenate([-x[..., half:], x[..., :half]], -1) * sine

    def _attention(self, h: U64, have: _Material, rows: Sequence[Row], layer: int) -> U64:
        """Attention's output (rows, heads * head_dim) modulo 2^64: eight openings."""
        shape, first, core = self._model.shape, self._party == 0, self._core
        count = len(rows)
        mixed = self._product(self._model.qkv[layer], h)
        down = scales.HIDDEN + scales.WEIGHT_BITS["qkv"] - scales.HEAD
        turned = self._turn(mixed[:, : shape.q_width + shape.kv_width].reshape(count, -1, shape.head_dim), rows).reshape(count, -1)
        turned = self._shift(turned, down + scales.ROPE)
        ring, value_ring = 64 - down - scales.ROPE, 64 - down
        q, k, v = turned[:, : shape.q_width], turned[:, shape.q_width :], self._shift(mixed[:, shape.q_width + shape.kv_width :], down)
        masks = [have.masks(name) for name in ("query", "key", "value")]
        q_open, k_open, v_open = self._open(("query", q + masks[0], ring), ("key", k + masks[1], ring), ("value", v + masks[2], value_ring))
        scores = []
        for i, row in enumerate(rows):
            kept = {name: array[layer] for name, array in row.cache.arrays.items()}
            at = row.own - 1
            kept["k_open"][at], kept["v_open"][at] = k_open[i], v_open[i]
            kept["k_share"][at] = k_open[i] - masks[1][i] if first else -masks[1][i]
            kept["v_share"][at] = v_open[i] - masks[2][i] if first else -masks[2][i]
            scores.append(
                core.scores(
                    shape.group,
                    shape.head_dim,
                    np.ascontiguousarray(q[i]),
                    q_open[i],
                    np.ascontiguousarray(masks[0][i]),
                    self._model.prefix_k[layer][: row.prefix],
                    kept["k_share"][: row.own],
                    kept["k_open"][: row.own],
                    have.shared(i, "query_key"),
                )
                & _low(ring)
            )
        weights, own_open, reciprocal = self._softmax(scores, have, rows)
        numerator = np.stack(
            [
                core.values(
                    shape.group,
                    shape.head_dim,
                    weights[i],
                    own_open[i],
                    have.mask(i, "weight"),
                    self._model.prefix_v[layer][: row.prefix],
                    row.cache.arrays["v_share"][layer][: row.own],
                    row.cache.arrays["v_open"][layer][: row.own],
                    have.shared(i, "weight_value"),
                )
                for i, row in enumerate(rows)
            ]
        ).reshape(count, -1)
        numerator = self._shift(numerator & _low(value_ring), scales.WEIGHT + scales.HEAD - scales.NUMERATOR)
        mask = have.masks("numerator", scales.LIFT)
        n_open, y_open = self._open(
            ("numerator", self._raise(numerator, scales.LIFT) + mask, scales.LIFT),
            ("reciprocal", reciprocal + have.masks("reciprocal"), scales.RECIPROCAL_RING),
        )
        wide = [np.repeat(a, shape.head_dim, -1) for a in (reciprocal, y_open)]
        o = self._lifted_product(
            n_open, wide[0], wide[1], mask, have.shareds("numerator_wrap", 1), have.shareds("numerator_reciprocal", 1), scales.LIFT
        )
        o = self._shift(o & _low(scales.RECIPROCAL_RING), scales.NUMERATOR + scales.RECIPROCAL - scales.OUT_IN)
        return self._lift(
            "attention output", o, have.masks("output", scales.OUTPUT_LIFT), have.shareds("output_wrap", 1), scales.OUTPUT_LIFT
        )

    def _lifted_product(self, x_open: U64, y: U64, y_open: U64, mask: U64, z: U64, cross: U64, bits: int) -> U64:
        """x y for x lifted from its opening and y opened under its own mask; cross: shares of rho y_mask for both top bits."""
        rho = lift.share_of_rho(x_open, mask, z, bits)
        chosen: U64 = np.where(x_open >> np.uint64(bits - 1), cross[1], cross[0])
        return (x_open - np.uint64(lift.offset(bits))) * y - y_open * rho + chosen

    def _softmax(self, scores: list[U64], have: _Material, rows: Sequence[Row]) -> tuple[list[U64], list[U64], U64]:
        """exp(score - bucketed maximum) (heads, keys) a row, its opened words for own keys, and 1 / sum (rows, heads): four openings."""
        core, party, first = self._core, self._party, self._party == 0
        heads, bits = self._model.shape.heads, scales.SCORE + self._root_bits
        numbers = range(len(rows))
        opened = self._open(
            *(
                ("score bucket", self._shift(s, bits - scales.BUCKET_FRACTION) + have.mask(i, "bucket"), scales.BUCKET_BITS)
                for i, s in enumerate(scores)
            )
        )
        counts = [
            core.buckets(
                heads,
                s.shape[1],
                scales.BUCKET_SEGMENT,
                scales.LOWEST_BUCKET,
                scales.THRESHOLDS,
                opened[i].astype(np.uint32),
                have.shared(i, "bucket_onehot"),
            )
            for i, s in enumerate(scores)
        ]
        depths = [zero.depth_for(s.shape[1]) for s in scores]
        opened = self._open(*(("bucket count", counts[i] + have.mask(i, "count").astype(np.uint64), depths[i]) for i in numbers))
        shifted = []
        for i, s in enumerate(scores):
            empty = zero.evaluate(core, party, depths[i], opened[i].astype(np.uint32), have.mask(i, "count_root"), have.key(i, "count_key"))
            top = -empty.reshape(heads, -1).sum(-1)
            if first:
                top = top + np.array(scales.LOWEST_BUCKET + scales.THRESHOLDS + 1, np.int64).astype(np.uint64)
            shifted.append(
                self._shift(s, bits - exponential.FRACTION_BITS)
                - (top * np.uint64(scales.BUCKET_WIDTH << exponential.FRACTION_BITS))[:, None]
            )
        opened = self._open(*(("shifted score", s + have.mask(i, "shifted"), exponential.BITS) for i, s in enumerate(shifted)))
        weights, sums = [], []
        for i in numbers:
            e = exponential.evaluate(core, party, opened[i].astype(np.uint32), have.mask(i, "shifted_root"), have.key(i, "shifted_key"))
            e = e.reshape(heads, -1)
            sums.append(self._shift(e.sum(-1), exponential.OUT_FRACTION_BITS - scales.SUM))
            weights.append(self._shift(e, exponential.OUT_FRACTION_BITS - scales.WEIGHT))
        ring = 64 - exponential.OUT_FRACTION_BITS + scales.WEIGHT
        total, *own_open = self._open(
            ("weight sum", np.stack(sums) + have.masks("sum"), curve.BITS),
            *(("weight", weights[i][:, row.prefix :] + have.mask(i, "weight"), ring) for i, row in enumerate(rows)),
        )
        reciprocal = curve.evaluate(
            core,
            party,
            "reciprocal",
            2.0**-scales.SUM,
            0.0,
            scales.RECIPROCAL_OUT,
            total.reshape(-1),
            have.roots("sum_root"),
            have.keys("sum_key"),
        ).reshape(total.shape)
        return weights, own_open, self._shift(reciprocal, scales.RECIPROCAL_OUT - scales.RECIPROCAL)

    def _gated(self, h: U64, have: _Material, layer: int) -> U64:
        """silu(gate) * up (rows, ffn) modulo 2^64: three openings."""
        ffn = self._model.shape.ffn
        both = self._product(self._model.gate_up[layer], h)
        fraction = scales.HIDDEN + scales.WEIGHT_BITS["gate_up"]
        gate, up = self._shift(both[:, :ffn], fraction - silu.FRACTION_BITS), self._shift(both[:, ffn:], fraction - scales.UP)
        (g_open,) = self._open(("gate", gate + have.masks("gate"), silu.BITS))
        y = np.stack(
            [
                silu.evaluate(
                    self._core,
                    self._party,
                    np.ascontiguousarray(g_open[i]).astype(np.uint32),
                    have.mask(i, "gate_root"),
                    have.key(i, "gate_key"),
                )
                for i in range(len(g_open))
            ]
        ).astype(np.uint64)
        y = self._shift(y, silu.OUT_FRACTION_BITS - scales.GATE)
        mask = have.masks("silu", scales.GATE_LIFT)
        y_open, u_open = self._open(
            ("silu", self._raise(y, scales.GATE_LIFT) + mask, scales.GATE_LIFT), ("up", up + have.masks("up"), scales.UP_RING)
        )
        p = self._lifted_product(y_open, up, u_open, mask, have.shareds("silu_wrap", 1), have.shareds("silu_up", 1), scales.GATE_LIFT)
        p = self._shift(p & _low(scales.UP_RING), scales.GATE + scales.UP - scales.DOWN_IN)
        return self._lift("gated product", p, have.masks("product", scales.LIFT), have.shareds("product_wrap", 1), scales.LIFT)
