"""The dealer's side: correlated randomness for one token and one layer, for a secret token's embedding, and for one drawn token.

The dealer knows every mask and no share of any input, so what it makes is independent of prompts; of private weights it knows only the
fixed masks (linear.py). It does NOT stay private if the dealer works together with a party: that pair sees everything.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc_inference import lift, prg
from mpc_inference.llama import answer, scales
from mpc_inference.llama.arithmetic import low
from mpc_inference.llama.layout import Layout, answer_layout, entrance_layout, layer_products, layout, view
from mpc_inference.llama.linear import Correlate
from mpc_inference.llama.shape import LlamaShape
from mpc_inference.native.core import U32, U64, Core
from mpc_inference.nonlinear import compare, curve, exponential, silu, zero


class _Maker:
    """Both parties' streams of one (token, layer), and the messages that they grow into."""

    def __init__(self, core: Core, plan: Layout, seeds: tuple[bytes, bytes], position: int, layer: int) -> None:
        self.core, self.plan = core, plan
        self._streams = tuple(prg.stream(seeds[p], position, layer, plan.stream_bytes(p)) for p in (0, 1))
        self.keys = np.zeros(plan.key_bytes, np.uint8)
        self.correction = np.zeros(plan.shared_bytes, np.uint8)

    def each(self, name: str, bits: int = 64) -> tuple[U64, U64]:
        """Both parties' parts of a mask, below 2^bits."""
        item = self.plan.masks[name]
        first, second = (view(s, item).astype(np.uint64) & low(bits) for s in self._streams)
        return first, second

    def mask(self, name: str, bits: int = 64) -> U64:
        first, second = self.each(name, bits)
        return (first + second) & low(bits)

    def roots(self, name: str) -> tuple[Any, Any]:
        item = self.plan.masks[name]
        first, second = (np.ascontiguousarray(view(s, item)) for s in self._streams)
        return first, second

    def give(self, name: str, value: Any) -> None:
        """Share a value: party 0's share is its stream, party 1 is sent the difference."""
        item = self.plan.shared[name]
        shift = self.plan.mask_bytes
        own = view(self._streams[0][shift:], item)
        view(self.correction, item)[...] = value.astype(item.dtype) - own

    def key(self, name: str, keys: NDArray[Any]) -> None:
        item = self.plan.keys[name]
        view(self.keys, item)[...] = keys

    def messages(self) -> tuple[bytes, bytes]:
        """For party 0 and party 1."""
        keys = self.keys.tobytes()
        return keys, keys + self.correction.tobytes()


def deal_layer(
    core: Core,
    shape: LlamaShape,
    layer: int,
    prefix: int,
    position: int,
    seeds: tuple[bytes, bytes],
    key_masks: U64,
    value_masks: U64,
    correlate: Correlate | None = None,
) -> tuple[bytes, bytes]:
    """Messages for party 0 and party 1.

    key_masks, value_masks: (own, kv_width), the session's masks so far; the last row is filled in here.
    correlate: with private weights, what knows their fixed masks.
    """
    own = position - prefix + 1
    plan = layout(shape, prefix, own, correlate is not None)
    make = _Maker(core, plan, seeds, position, layer)
    group, dim, kv = shape.group, shape.head_dim, shape.kv_heads
    if correlate is not None:
        for name in layer_products(shape):
            make.give(f"{name}_product", correlate(name, layer, *make.each(f"{name}_input")))
    for n in "12":
        _deal_norm(make, n)
    key_masks[own - 1], value_masks[own - 1] = make.mask("key"), make.mask("value")
    query = make.mask("query").reshape(kv, group, dim)
    by_head = np.ascontiguousarray(key_masks[:own].reshape(own, kv, dim).transpose(1, 0, 2))  # (kv, own, dim)
    products = np.stack([core.gemm(by_head[h].view(np.int64), np.ascontiguousarray(query[h])) for h in range(kv)])
    make.give("query_key", products.reshape(shape.heads, own))
    _deal_softmax(make, shape, prefix + own)
    weight = make.mask("weight").reshape(kv, group, own)
    transposed = np.ascontiguousarray(value_masks[:own].reshape(own, kv, dim).transpose(1, 2, 0))  # (kv, dim, own)
    weighted = np.stack([core.gemm(transposed[h].view(np.int64), np.ascontiguousarray(weight[h])) for h in range(kv)])
    make.give("weight_value", weighted.reshape(-1))
    z, rho = lift.dealer(*make.each("numerator", scales.LIFT), scales.LIFT)
    make.give("numerator_wrap", z)
    make.give("numerator_reciprocal", rho * np.repeat(make.mask("reciprocal"), dim))
    make.give("output_wrap", lift.dealer(*make.each("output", scales.OUTPUT_LIFT), scales.OUTPUT_LIFT)[0])
    make.key("gate_key", silu.keys(core, make.mask("gate", silu.BITS), *make.roots("gate_root")))
    z, rho = lift.dealer(*make.each("silu", scales.GATE_LIFT), scales.GATE_LIFT)
    make.give("silu_wrap", z)
    make.give("silu_up", rho * make.mask("up"))
    make.give("product_wrap", lift.dealer(*make.each("product", scales.LIFT), scales.LIFT)[0])
    return make.messages()


def deal_entrance(core: Core, shape: LlamaShape, position: int, seeds: tuple[bytes, bytes], correlate: Correlate) -> tuple[bytes, bytes]:
    """Messages for the embedding of the token at `position`."""
    make = _Maker(core, entrance_layout(shape), seeds, position, shape.layers)
    make.give("embedding_product", correlate("embedding", shape.layers, *make.each("embedding_input")))
    return make.messages()


def deal_answer(core: Core, shape: LlamaShape, seeds: tuple[bytes, bytes], correlate: Correlate) -> tuple[bytes, bytes]:
    """Messages for one drawn token. The seeds belong to this answer alone."""
    make = _Maker(core, answer_layout(shape), seeds, 0, 0)
    make.give("head_product", correlate("head", shape.layers, *make.each("head_input")))
    _deal_norm(make, "3")
    make.give("noise", answer.gumbel(shape.vocab))
    tree, payload, beside = compare.keys(core, make.mask("pair", compare.BITS), *make.roots("pair_root"))
    make.key("pair_tree", tree)
    make.key("pair_payload", payload)
    make.give("pair_beside", beside)
    make.give("winner_step", make.mask("winner") * make.mask("step"))
    return make.messages()


def _deal_norm(make: _Maker, n: str) -> None:
    a, b = make.mask(f"residual{n}"), make.mask(f"inverse{n}")
    make.give(f"residual_square{n}", (a * a).sum(keepdims=True))
    make.give(f"residual_inverse{n}", a * b)
    make.give(f"hidden_wrap{n}", lift.dealer(*make.each(f"hidden{n}", scales.HIDDEN_LIFT), scales.HIDDEN_LIFT)[0])
    make.key(f"square_key{n}", curve.keys(make.core, make.mask(f"square{n}", curve.BITS), *make.roots(f"square_root{n}")))


def _deal_softmax(make: _Maker, shape: LlamaShape, total: int) -> None:
    core = make.core
    bucket = make.mask("bucket", scales.BUCKET_BITS) >> np.uint64(scales.BUCKET_SEGMENT)
    onehot: U32 = (bucket[..., None] == np.arange(scales.BUCKETS, dtype=np.uint64)).astype(np.uint32)
    make.give("bucket_onehot", onehot)
    depth = zero.depth_for(total)
    make.key("count_key", zero.keys(core, depth, make.mask("count", depth).reshape(-1), *make.roots("count_root")))
    make.key("shifted_key", exponential.keys(core, make.mask("shifted", exponential.BITS).reshape(-1), *make.roots("shifted_root")))
    make.key("sum_key", curve.keys(core, make.mask("sum", curve.BITS), *make.roots("sum_root")))
