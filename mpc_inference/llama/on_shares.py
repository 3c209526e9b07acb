"""One Llama forward pass on additive shares: what a party computes, and what the two parties open.

Straight-line, a layer at a time: eighteen rounds a layer with open weights, twenty-two with private ones. Every opened value is masked by a
word that neither party knows. Shapes: rows are tokens (of one or of several sessions), x is (rows, hidden) shares modulo 2^64 at
scales.RESIDUAL fraction bits. Adversary: one semi-honest party. It does NOT protect against a party that sends wrong words, nor
against a party that works with the dealer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc_inference.llama import scales
from mpc_inference.llama.arithmetic import Arithmetic, low
from mpc_inference.llama.layout import layout
from mpc_inference.llama.linear import Linear
from mpc_inference.llama.norm import norm
from mpc_inference.llama.plain import rope_angles
from mpc_inference.llama.shape import LlamaShape
from mpc_inference.llama.supply import Row, Supply
from mpc_inference.native.core import U64
from mpc_inference.nonlinear import curve, exponential, silu, zero


def rope_tables(shape: LlamaShape) -> tuple[U64, U64]:
    """Integer cosines and sines (context, head_dim) at scales.ROPE fraction bits."""
    first, second = (np.rint(a * 2**scales.ROPE).astype(np.int64).view(np.uint64) for a in rope_angles(shape, np.arange(shape.context)))
    return first, second


class SharedLlama:
    """One party's layers. prefix_k, prefix_v: a layer's public keys and values (tokens, kv_width), none with private weights."""

    def __init__(
        self,
        arithmetic: Arithmetic,
        linear: Linear,
        shape: LlamaShape,
        layers: Sequence[scales.Layer],
        prefix_k: Sequence[U64],
        prefix_v: Sequence[U64],
        private: bool,
    ) -> None:
        self._arithmetic, self._linear, self._shape, self._layers, self._private = arithmetic, linear, shape, layers, private
        self._prefix_k, self._prefix_v = prefix_k, prefix_v
        self._rope = rope_tables(shape)
        self._root_bits = round(np.log2(np.sqrt(shape.head_dim)))

    def forward(self, rows: Sequence[Row], x: U64) -> U64:
        """Own shares of the last hidden states (rows, hidden). Rows of one session stand in ascending position."""
        shape, linear = self._shape, self._linear
        plans = [layout(shape, r.prefix, r.own, self._private) for r in rows]
        for row in rows:
            row.cache.room(row.own)
        for i, scale in enumerate(self._layers):
            have = Supply.of_layer(self._arithmetic.party, rows, plans, i, self._private)
            h = norm(self._arithmetic, shape, x, have, "1", scale.norm1)
            x = x + linear("out", i, self._attention(h, have, rows, i), have)
            h = norm(self._arithmetic, shape, x, have, "2", scale.norm2)
            x = x + linear("down", i, self._gated(h, have, i), have)
        return x

    def _turn(self, x: U64, rows: Sequence[Row]) -> NDArray[Any]:
        """Rotary embedding on shares: x (rows, heads, head_dim), public integer angles."""
        positions = [r.position for r in rows]
        cosine, sine = (table[positions][:, None] for table in self._rope)
        half = x.shape[-1] // 2
        return x * cosine + np.concatenate([-x[..., half:], x[..., :half]], -1) * sine

    def _attention(self, h: U64, have: Supply, rows: Sequence[Row], layer: int) -> U64:
        """Attention's output (rows, heads * head_dim) modulo 2^64: eight openings."""
        shape, arithmetic, first, core = self._shape, self._arithmetic, self._arithmetic.first, self._arithmetic.core
        count = len(rows)
        mixed = self._linear("qkv", layer, h, have)
        down = scales.HIDDEN + scales.WEIGHT_BITS["query_key"] + scales.ROPE - scales.HEAD
        value_down = scales.HIDDEN + scales.WEIGHT_BITS["value"] - scales.VALUE
        turned = self._turn(mixed[:, : shape.q_width + shape.kv_width].reshape(count, -1, shape.head_dim), rows).reshape(count, -1)
        turned = arithmetic.shift(turned, down)
        ring, value_ring = 64 - down, 64 - value_down
        q, k = turned[:, : shape.q_width], turned[:, shape.q_width :]
        v = arithmetic.shift(mixed[:, shape.q_width + shape.kv_width :], value_down)
        masks = [have.masks(name) for name in ("query", "key", "value")]
        q_open, k_open, v_open = arithmetic.open(
            ("query", q + masks[0], ring), ("key", k + masks[1], ring), ("value", v + masks[2], value_ring)
        )
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
                    self._prefix_k[layer][: row.prefix],
                    kept["k_share"][: row.own],
                    kept["k_open"][: row.own],
                    have.shared(i, "query_key"),
                )
                & low(ring)
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
                    self._prefix_v[layer][: row.prefix],
                    row.cache.arrays["v_share"][layer][: row.own],
                    row.cache.arrays["v_open"][layer][: row.own],
                    have.shared(i, "weight_value"),
                )
                for i, row in enumerate(rows)
            ]
        ).reshape(count, -1)
        numerator = arithmetic.shift(numerator & low(value_ring), scales.WEIGHT + scales.VALUE - scales.NUMERATOR)
        mask = have.masks("numerator", scales.LIFT)
        n_open, y_open = arithmetic.open(
            ("numerator", arithmetic.raised(numerator, scales.LIFT) + mask, scales.LIFT),
            ("reciprocal", reciprocal + have.masks("reciprocal"), scales.RECIPROCAL_RING),
        )
        wide = [np.repeat(a, shape.head_dim, -1) for a in (reciprocal, y_open)]
        o = arithmetic.lifted_product(
            n_open, wide[0], wide[1], mask, have.shareds("numerator_wrap", 1), have.shareds("numerator_reciprocal", 1), scales.LIFT
        )
        o = arithmetic.shift(o & low(scales.RECIPROCAL_RING), scales.NUMERATOR + scales.RECIPROCAL - scales.OUT_IN)
        return arithmetic.lift(
            "attention output", o, have.masks("output", scales.OUTPUT_LIFT), have.shareds("output_wrap", 1), scales.OUTPUT_LIFT
        )

    def _softmax(self, scores: list[U64], have: Supply, rows: Sequence[Row]) -> tuple[list[U64], list[U64], U64]:
        """exp(score - bucketed maximum) (heads, keys) a row, its opened words for own keys, and 1 / sum (rows, heads): four openings."""
        arithmetic, core = self._arithmetic, self._arithmetic.core
        party, first = arithmetic.party, arithmetic.first
        heads, bits = self._shape.heads, scales.SCORE + self._root_bits
        numbers = range(len(rows))
        opened = arithmetic.open(
            *(
                ("score bucket", arithmetic.shift(s, bits - scales.BUCKET_FRACTION) + have.mask(i, "bucket"), scales.BUCKET_BITS)
                for i, s in enumerate(scores)
            )
        )
        counts = [
            core.buckets(
                heads,
                s.shape[1],
                scales.BUCKETS,
                scales.BUCKET_SEGMENT,
                scales.LOWEST_BUCKET,
                scales.THRESHOLDS,
                opened[i].astype(np.uint32),
                have.shared(i, "bucket_onehot"),
            )
            for i, s in enumerate(scores)
        ]
        depths = [zero.depth_for(s.shape[1]) for s in scores]
        opened = arithmetic.open(*(("bucket count", counts[i] + have.mask(i, "count").astype(np.uint64), depths[i]) for i in numbers))
        shifted = []
        for i, s in enumerate(scores):
            empty = zero.evaluate(core, party, depths[i], opened[i].astype(np.uint32), have.mask(i, "count_root"), have.key(i, "count_key"))
            top = -empty.reshape(heads, -1).sum(-1)
            if first:
                top = top + np.array(scales.LOWEST_BUCKET + scales.THRESHOLDS + 1, np.int64).astype(np.uint64)
            shifted.append(
                arithmetic.shift(s, bits - exponential.FRACTION_BITS)
                - (top * np.uint64(scales.BUCKET_WIDTH << exponential.FRACTION_BITS))[:, None]
            )
        opened = arithmetic.open(*(("shifted score", s + have.mask(i, "shifted"), exponential.BITS) for i, s in enumerate(shifted)))
        weights, sums = [], []
        for i in numbers:
            e = exponential.evaluate(core, party, opened[i].astype(np.uint32), have.mask(i, "shifted_root"), have.key(i, "shifted_key"))
            e = e.reshape(heads, -1)
            sums.append(arithmetic.shift(e.sum(-1), exponential.OUT_FRACTION_BITS - scales.SUM))
            weights.append(arithmetic.shift(e, exponential.OUT_FRACTION_BITS - scales.WEIGHT))
        ring = 64 - exponential.OUT_FRACTION_BITS + scales.WEIGHT
        total, *own_open = arithmetic.open(
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
        return weights, own_open, arithmetic.shift(reciprocal, scales.RECIPROCAL_OUT - scales.RECIPROCAL)

    def _gated(self, h: U64, have: Supply, layer: int) -> U64:
        """silu(gate) * up (rows, ffn) modulo 2^64: three openings."""
        arithmetic, ffn = self._arithmetic, self._shape.ffn
        both = self._linear("gate_up", layer, h, have)
        fraction = scales.HIDDEN + scales.WEIGHT_BITS["gate_up"]
        gate, up = arithmetic.shift(both[:, :ffn], fraction - silu.FRACTION_BITS), arithmetic.shift(both[:, ffn:], fraction - scales.UP)
        (g_open,) = arithmetic.open(("gate", gate + have.masks("gate"), silu.BITS))
        y = np.stack(
            [
                silu.evaluate(
                    arithmetic.core,
                    arithmetic.party,
                    np.ascontiguousarray(g_open[i]).astype(np.uint32),
                    have.mask(i, "gate_root"),
                    have.key(i, "gate_key"),
                )
                for i in range(len(g_open))
            ]
        ).astype(np.uint64)
        y = arithmetic.shift(y, silu.OUT_FRACTION_BITS - scales.GATE)
        mask = have.masks("silu", scales.GATE_LIFT)
        y_open, u_open = arithmetic.open(
            ("silu", arithmetic.raised(y, scales.GATE_LIFT) + mask, scales.GATE_LIFT), ("up", up + have.masks("up"), scales.UP_RING)
        )
        p = arithmetic.lifted_product(y_open, up, u_open, mask, have.shareds("silu_wrap", 1), have.shareds("silu_up", 1), scales.GATE_LIFT)
        p = arithmetic.shift(p & low(scales.UP_RING), scales.GATE + scales.UP - scales.DOWN_IN)
        return arithmetic.lift("gated product", p, have.masks("product", scales.LIFT), have.shareds("product_wrap", 1), scales.LIFT)
