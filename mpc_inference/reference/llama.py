"""A Llama forward pass in CrypTen's own functions: its softmax, sigmoid, inverse square root and Beaver products.

Shapes as in llama/plain.py: x is (tokens, hidden). It reuses none of the engine's arithmetic, so a mistake there does not repeat here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from mpc_inference.llama.plain import F32, rope_angles
from mpc_inference.llama.shape import LlamaShape

MASKED = -30.0  # CrypTen's exponential is wrong far below zero


def forward(library: Any, shape: LlamaShape, weights: Mapping[str, F32], x: Any) -> Any:
    """Shares of the logits (tokens, vocab) of embedded tokens x (an MPCTensor); weights are public."""
    count, dim = x.size(0), shape.head_dim
    cosine, sine = (torch.from_numpy(a.astype(np.float32)) for a in rope_angles(shape, np.arange(count)))
    future = torch.from_numpy(np.where(np.triu(np.ones((count, count), bool), 1), MASKED, 0.0).astype(np.float32))

    def public(name: str) -> torch.Tensor:
        return torch.from_numpy(np.array(weights[name]))

    def norm(t: Any, gain: torch.Tensor) -> Any:
        return t * ((t * t).sum(1, keepdim=True).mul(1 / shape.hidden).add(shape.rms_epsilon)).inv_sqrt() * gain

    def heads(t: Any, number: int) -> Any:
        return t.view(count, number, dim).transpose(0, 1)

    def turn(t: Any) -> Any:
        return t * cosine + library.cat([t[:, :, dim // 2 :] * -1, t[:, :, : dim // 2]], 2) * sine

    for layer in range(shape.layers):
        part = f"model.layers.{layer}."
        h = norm(x, public(part + "input_layernorm.weight"))
        q, k, v = (h.matmul(public(f"{part}self_attn.{n}_proj.weight").T) for n in "qkv")
        q, k, v = turn(heads(q, shape.heads)), turn(heads(k, shape.kv_heads)), heads(v, shape.kv_heads)
        mixed = []
        for head in range(shape.heads):
            key, value = k[head // shape.group], v[head // shape.group]
            score = q[head].matmul(key.transpose(0, 1)).mul(dim**-0.5) + future
            mixed.append(score.softmax(1).matmul(value))
        x = x + library.cat(mixed, 1).matmul(public(part + "self_attn.o_proj.weight").T)
        h = norm(x, public(part + "post_attention_layernorm.weight"))
        gate = h.matmul(public(part + "mlp.gate_proj.weight").T)
        up = h.matmul(public(part + "mlp.up_proj.weight").T)
        x = x + (gate * gate.sigmoid() * up).matmul(public(part + "mlp.down_proj.weight").T)
    head_name = "model.embed_tokens.weight" if shape.tied else "lm_head.weight"
    return norm(x, public("model.norm.weight")).matmul(public(head_name).T)
