"""Where each item of one token's correlated randomness lies, a layer at a time.

Three kinds. MASK: both parties expand it from their own seed, nothing is sent. SHARED: party 0 expands its share, party 1 receives the
correction. KEY: function-secret-sharing keys, the same bytes for both. A layer's stream is masks, then (party 0) shared
items; a layer's message is keys, then (party 1) shared items. Item sizes depend only on the public context length.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mpc_inference.llama import scales
from mpc_inference.llama.shape import LlamaShape
from mpc_inference.native.core import BLOCK, U8
from mpc_inference.nonlinear import curve, exponential, silu, zero


@dataclass(frozen=True)
class Item:
    """A named run of words at a byte offset of its section."""

    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def stop(self) -> int:
        """The byte after its last."""
        return self.start + int(np.prod(self.shape)) * self.dtype.itemsize


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
        item = Item(at, shape, np.dtype(dtype))
        out[name] = item
        at = -(-item.stop // 64) * 64
    return out, at


@lru_cache(maxsize=4096)
def layout(shape: LlamaShape, prefix: int, own: int) -> Layout:
    """For a token that sees `prefix` public and `own` shared positions (itself among them)."""
    total, d, f, h = prefix + own, shape.hidden, shape.ffn, shape.heads
    depth = zero.depth_for(total)
    word, half = np.uint64, np.uint32
    masks: dict[str, tuple[DTypeLike, tuple[int, ...]]] = {}
    shared: dict[str, tuple[DTypeLike, tuple[int, ...]]] = {}
    keys: dict[str, tuple[DTypeLike, tuple[int, ...]]] = {}
    for n in "12":
        masks |= {
            f"residual{n}": (word, (d,)),
            f"square{n}": (word, (1,)),
            f"square_root{n}": (np.uint8, (1, BLOCK)),
            f"inverse{n}": (word, (1,)),
            f"hidden{n}": (half, (d,)),
        }
        shared |= {f"residual_square{n}": (word, (1,)), f"residual_inverse{n}": (word, (d,)), f"hidden_wrap{n}": (word, (2, d))}
        keys |= {f"square_key{n}": (np.uint8, (1, curve.KEY_BYTES))}
    masks |= {
        "query": (word, (shape.q_width,)),
        "key": (word, (shape.kv_width,)),
        "value": (word, (shape.kv_width,)),
        "bucket": (half, (h, total)),
        "count": (half, (h, scales.THRESHOLDS)),
        "count_root": (np.uint8, (h * scales.THRESHOLDS, BLOCK)),
        "shifted": (half, (h, total)),
        "shifted_root": (np.uint8, (h * total, BLOCK)),
        "weight": (word, (h, own)),
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
    shared |= {
        "query_key": (word, (h, own)),
        "bucket_onehot": (np.uint16, (h, total, 64)),
        "weight_value": (word, (shape.q_width,)),
        "numerator_wrap": (word, (2, shape.q_width)),
        "numerator_reciprocal": (word, (2, shape.q_width)),
        "output_wrap": (word, (2, shape.q_width)),
        "silu_wrap": (word, (2, f)),
        "silu_up": (word, (2, f)),
        "product_wrap": (word, (2, f)),
    }
    keys |= {
        "count_key": (np.uint8, (h * scales.THRESHOLDS, zero.key_bytes(depth))),
        "shifted_key": (np.uint8, (h * total, exponential.KEY_BYTES)),
        "sum_key": (np.uint8, (h, curve.KEY_BYTES)),
        "gate_key": (np.uint8, (f, silu.KEY_BYTES)),
    }
    (m, mb), (s, sb), (k, kb) = _section(masks), _section(shared), _section(keys)
    return Layout(m, s, k, mb, sb, kb)
