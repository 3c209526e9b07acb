"""The same Llama forward pass in the clear, float32 NumPy.

It computes the keys and values of the public template prefix, calibrates scales on public text, and is the reference
that fidelity is measured against. Nothing private may be given to it outside the client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpc_inference.llama.shape import LlamaShape

F32 = NDArray[np.float32]


def rope_angles(shape: LlamaShape, positions: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cosines and sines (positions, head_dim), both halves alike."""
    inverse = shape.rope_theta ** (-np.arange(0, shape.head_dim, 2) / shape.head_dim)
    angle = np.concatenate([positions[:, None] * inverse[None]] * 2, -1)
    return np.cos(angle), np.sin(angle)


def _norm(x: F32, gain: F32, epsilon: float) -> F32:
    return np.asarray(x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(epsilon)) * gain, np.float32)


def _rotate(x: F32, cosine: F32, sine: F32) -> F32:
    half = x.shape[-1] // 2
    turned = np.concatenate([-x[..., half:], x[..., :half]], -1)
    return np.asarray(x * cosine[:, None] + turned * sine[:, None], np.float32)


@dataclass
class Trace:
    """What a pass leaves behind: rotated keys and values a layer (tokens, kv_heads, head_dim), mean squares before each norm."""

    keys: list[F32] = field(default_factory=list)
    values: list[F32] = field(default_factory=list)
    mean_squares: list[tuple[F32, F32]] = field(default_factory=list)


def forward(shape: LlamaShape, weights: Mapping[str, F32], tokens: NDArray[np.int64]) -> tuple[F32, Trace]:
    """Last hidden states (tokens, hidden) before the final norm, with the trace. Whole sequence at once, causal."""
    x = weights["model.embed_tokens.weight"][tokens]
    count, trace = len(tokens), Trace()
    cosine, sine = (a.astype(np.float32) for a in rope_angles(shape, np.arange(count)))
    future = np.triu(np.ones((count, count), bool), 1)
    for layer in range(shape.layers):
        w = {name: weights[f"model.layers.{layer}.{name}.weight"] for name in PARTS}
        first = (x * x).mean(-1)
        h = _norm(x, w["input_layernorm"], shape.rms_epsilon)
        q = _rotate((h @ w["self_attn.q_proj"].T).reshape(count, shape.heads, -1), cosine, sine)
        k = _rotate((h @ w["self_attn.k_proj"].T).reshape(count, shape.kv_heads, -1), cosine, sine)
        v = (h @ w["self_attn.v_proj"].T).reshape(count, shape.kv_heads, -1)
        trace.keys.append(k)
        trace.values.append(v)
        score = np.einsum("thd,shd->hts", q, np.repeat(k, shape.group, 1)) / np.sqrt(np.float32(shape.head_dim))
        score[:, future] = -np.inf
        p = np.exp(score - score.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        x = x + np.einsum("hts,shd->thd", p, np.repeat(v, shape.group, 1)).reshape(count, -1) @ w["self_attn.o_proj"].T
        trace.mean_squares.append((first, (x * x).mean(-1)))
        h = _norm(x, w["post_attention_layernorm"], shape.rms_epsilon)
        gate = h @ w["mlp.gate_proj"].T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w["mlp.up_proj"].T)) @ w["mlp.down_proj"].T
    return x, trace


def logits(shape: LlamaShape, weights: Mapping[str, F32], hidden: F32) -> F32:
    """Final norm and head: (tokens, vocab)."""
    head = weights["model.embed_tokens.weight" if shape.tied else "lm_head.weight"]
    return np.asarray(_norm(hidden, weights["model.norm.weight"], shape.rms_epsilon) @ head.T, np.float32)


PARTS = (
    "input_layernorm",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "post_attention_layernorm",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)
