"""Where each item of one token's correlated randomness lies, a layer at a time.

Three kinds. MASK: both parties expand it from their own seed, nothing is sent. SHARED: party 0 expands its share, party 1 receives the
correction. KEY: function-secret-sharing keys, the same bytes for both. A layer's stream is masks, then (party 0) shared
items; a layer's message is keys, then (party 1) shared items. Item sizes depend only on the public context length; in each section
those that do not depend on it stand first, so that a pass handles them for all its rows at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mpc_inference.llama import scales
from mpc_inference.llama.shape import LlamaShape
from mpc_inference.native.core import BLOCK, U8
from mpc_inference.nonlinear import compare, curve, exponential, silu, zero


@dataclass(frozen=True)
class Item:
    """A named run of words at a byte offset of its section."""

    start: int
    stop: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


@dataclass(frozen=True)
class Layout:
    """The three sections of one (token, layer)."""

    masks: dict[str, Item]
    shared: dict[str, Item]
    keys: dict[str, Item]
    mask_bytes: int
    shared_bytes: int
    key_bytes: int

    def stream_bytes(self, party: int) -> int:
        """What a party expands from its seed."""
        return self.mask_bytes + (self.shared_bytes if party == 0 else 0)

    def message_bytes(self, party: int) -> int:
        """What the dealer sends to a party."""
        return self.key_bytes + (self.shared_bytes if party == 1 else 0)


def view(section: U8, item: Item) -> NDArray[np.generic]:
    """An item of a section as an array."""
    return section[item.start : item.stop].view(item.dtype).reshape(item.shape)


def _section(items: dict[str, tuple[DTypeLike, tuple[int, ...]]]) -> tuple[dict[str, Item], int]:
    out, at = {}, 0
    for name, (dtype, shape) in items.items():
        kind = np.dtype(dtype)
        item = Item(at, at + math.prod(shape) * kind.itemsize, shape, kind)
        out[name] = item
        at = -(-item.stop // 64) * 64
    return out, at


Items = dict[str, tuple[DTypeLike, tuple[int, ...]]]


@dataclass
class _Plan:
    masks: Items
    shared: Items
    keys: Items

    def norm(self, n: str, hidden: int) -> None:
        word = np.uint64
        self.masks |= {
            f"residual{n}": (word, (hidden,)),
            f"square{n}": (word, (1,)),
            f"square_root{n}": (np.uint8, (1, BLOCK)),
            f"inverse{n}": (word, (1,)),
            f"hidden{n}": (np.uint32, (hidden,)),
        }
        self.shared |= {
            f"residual_square{n}": (word, (1,)),
            f"residual_inverse{n}": (word, (hidden,)),
            f"hidden_wrap{n}": (word, (2, hidden)),
        }
        self.keys |= {f"square_key{n}": (np.uint8, (1, curve.KEY_BYTES))}

    def product(self, name: str, rows: int, columns: int) -> None:
        """A private matrix: its input mask stands first in the stream, so that it can be expanded alone."""
        self.masks |= {f"{name}_input": (np.uint64, (columns,))}
        self.shared |= {f"{name}_product": (np.uint64, (rows,))}

    def laid(self) -> Layout:
        (m, mb), (s, sb), (k, kb) = _section(self.masks), _section(self.shared), _section(self.keys)
        return Layout(m, s, k, mb, sb, kb)


def layer_products(shape: LlamaShape) -> dict[str, tuple[int, int]]:
    """A layer's matrices: rows and columns."""
    return {
        "qkv": (shape.q_width + 2 * shape.kv_width, shape.hidden),
        "out": (shape.hidden, shape.q_width),
        "gate_up": (2 * shape.ffn, shape.hidden),
        "down": (shape.hidden, shape.ffn),
    }


@lru_cache(maxsize=4)
def entrance_layout(shape: LlamaShape) -> Layout:
    """For the embedding of one secret token, with private weights."""
    plan = _Plan({}, {}, {})
    plan.product("embedding", shape.hidden, shape.vocab)
    return plan.laid()


@lru_cache(maxsize=4)
def answer_layout(shape: LlamaShape) -> Layout:
    """For one drawn token with private weights: the last norm, the head, the noise and the tournament (answer.py)."""
    plan = _Plan({}, {}, {})
    plan.product("head", shape.vocab, shape.hidden)
    plan.norm("3", shape.hidden)
    pairs, later, half = shape.vocab - 1, shape.vocab - 1 - shape.vocab // 2, np.uint32
    plan.masks |= {
        "pair": (half, (pairs,)),
        "pair_root": (np.uint8, (pairs, BLOCK)),
        "winner": (half, (later,)),
        "step": (half, (later,)),
    }
    plan.shared |= {"noise": (np.uint64, (shape.vocab,)), "pair_beside": (half, (2, pairs)), "winner_step": (half, (later,))}
    plan.keys |= {"pair_tree": (np.uint8, (pairs, compare.TREE_BYTES)), "pair_payload": (half, (pairs, compare.WORDS))}
    return plan.laid()


@lru_cache(maxsize=4096)
def layout(shape: LlamaShape, prefix: int, own: int, private: bool = False) -> Layout:
    """For a token that sees `prefix` public and `own` shared positions (itself among them)."""
    total, f, h = prefix + own, shape.ffn, shape.heads
    depth = zero.depth_for(total)
    word, half = np.uint64, np.uint32
    plan = _Plan({}, {}, {})
    if private:
        for name, (rows, columns) in layer_products(shape).items():
            plan.product(name, rows, columns)
    for n in "12":
        plan.norm(n, shape.hidden)
    plan.masks |= {
        "query": (word, (shape.q_width,)),
        "key": (word, (shape.kv_width,)),
        "value": (word, (shape.kv_width,)),
        "count": (half, (h, scales.THRESHOLDS)),
        "count_root": (np.uint8, (h * scales.THRESHOLDS, BLOCK)),
        "sum": (word, (h,)),
        "sum_root": (np.uint8, (h, BLOCK)),
        "reciprocal": (word, (h,)),
        "numerator": (half, (shape.q_width,)),
        "output": (half, (shape.q_width,)),
        "gate": (half, (f,)),
        "gate_root": (np.uint8, (f, BLOCK)),
        "up": (word, (f,)),
        "silu": (half, (f,)),
        "product": (half, (f,)),
    }
    plan.shared |= {
        "weight_value": (word, (shape.q_width,)),
        "numerator_wrap": (word, (2, shape.q_width)),
        "numerator_reciprocal": (word, (2, shape.q_width)),
        "output_wrap": (word, (2, shape.q_width)),
        "silu_wrap": (word, (2, f)),
        "silu_up": (word, (2, f)),
        "product_wrap": (word, (2, f)),
    }
    plan.keys |= {"sum_key": (np.uint8, (h, curve.KEY_BYTES)), "gate_key": (np.uint8, (f, silu.KEY_BYTES))}
    # from here on the sizes follow the context
    plan.masks |= {
        "bucket": (half, (h, total)),
        "shifted": (half, (h, total)),
        "shifted_root": (np.uint8, (h * total, BLOCK)),
        "weight": (word, (h, own)),
    }
    plan.shared |= {"query_key": (word, (h, own)), "bucket_onehot": (np.uint16, (h, total, scales.BUCKETS))}
    plan.keys |= {
        "count_key": (np.uint8, (h * scales.THRESHOLDS, zero.key_bytes(depth))),
        "shifted_key": (np.uint8, (h * total, exponential.KEY_BYTES)),
    }
    return plan.laid()
