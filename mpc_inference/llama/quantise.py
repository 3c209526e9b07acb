"""From float weights to integer matrices, and how far a residual may grow: the same for open and for private weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mpc_inference.errors import ModelUnsupported
from mpc_inference.llama import plain, scales
from mpc_inference.llama.linear import Matrix
from mpc_inference.llama.shape import LlamaShape
from mpc_inference.tokens import ChatTokens

MARGIN = 16.0  # the mean square of the residual may exceed the largest one of the calibration text by this factor
CALIBRATION = Path(__file__).with_name("calibration.txt")


@dataclass(frozen=True)
class Calibration:
    """The largest mean squares on the calibration text, position 0 left out: before each layer's two norms, and before the head's."""

    mean_squares: tuple[tuple[float, float], ...]
    last: float


def calibrate(shape: LlamaShape, weights: Mapping[str, plain.F32], tokens: ChatTokens) -> Calibration:
    """Run the calibration text in the clear."""
    text = np.array([tokens.public_prefix()[0], *tokens.encode(CALIBRATION.read_text())[:600]], np.int64)
    hidden, trace = plain.forward(shape, weights, text)
    return Calibration(
        tuple((float(first[1:].max()), float(second[1:].max())) for first, second in trace.mean_squares),
        float((hidden[1:] ** 2).mean(-1).max()),
    )


def quantise(matrix: plain.F32, bits: int | NDArray[np.int64]) -> Matrix:
    """Each row at its own power of two, at most `bits` (of all rows, or (rows,)), so that its largest weight fits 16 bits.

    Raises ModelUnsupported.
    """
    bits = np.broadcast_to(bits, len(matrix))[:, None]
    largest = np.abs(matrix).max(-1, keepdims=True).astype(np.float64)
    own = np.minimum(bits, np.floor(np.log2(32767 / np.maximum(largest, 2.0**-40))))
    if own.min() < 8:
        raise ModelUnsupported("weights too large for 16 bits: this engine cannot hold their precision; rescale the model")
    whole = np.ascontiguousarray(np.rint(matrix.astype(np.float64) * 2**own).astype(np.int16))  # files keep memory order
    return Matrix(whole, (2.0 ** (bits - own)[:, 0]).astype(np.uint64))


def layer_matrices(weights: Mapping[str, plain.F32], layer: int) -> dict[str, Matrix]:
    """A layer's four matrices, norm gains folded in."""
    w = {name: weights[f"model.layers.{layer}.{name}.weight"] for name in plain.PARTS}
    floats = {
        "qkv": np.concatenate([w[f"self_attn.{n}_proj"] for n in "qkv"]) * w["input_layernorm"],
        "out": w["self_attn.o_proj"],
        "gate_up": np.concatenate([w["mlp.gate_proj"], w["mlp.up_proj"]]) * w["post_attention_layernorm"],
        "down": w["mlp.down_proj"],
    }
    values = len(w["self_attn.v_proj"])
    of_qkv = np.full(len(floats["qkv"]), scales.WEIGHT_BITS["query_key"])
    of_qkv[-values:] = scales.WEIGHT_BITS["value"]
    return {name: quantise(matrix, of_qkv if name == "qkv" else scales.WEIGHT_BITS[name]) for name, matrix in floats.items()}


def norm_bits(mean_square: float, hidden: int) -> int:
    """Fraction bits f with hidden * MARGIN * mean_square * 2^(2f) below the ring modulo 2^(64 - RESIDUAL + f)."""
    free = 64 - scales.RESIDUAL - np.log2(hidden * MARGIN * mean_square)
    return int(np.clip(np.floor(free), 6, 15))
