"""The shape of a Llama model, read from its config.json.

Everything that the engine cannot compute faithfully is refused here, by name, before any weight is read.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mpc_inference.errors import ModelUnsupported


@dataclass(frozen=True)
class LlamaShape:
    """Dimensions and constants of one model."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    rms_epsilon: float
    rope_theta: float
    context: int
    tied: bool

    @property
    def group(self) -> int:
        """Query heads that share one key and value head."""
        return self.heads // self.kv_heads

    @property
    def q_width(self) -> int:
        """Values of one token's queries."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Values of one token's keys (or values)."""
        return self.kv_heads * self.head_dim

    def to_json(self) -> str:
        """A canonical text, for hashing and storing."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> LlamaShape:
        """The inverse of `to_json`."""
        return LlamaShape(**json.loads(text))


def read_shape(model: Path) -> LlamaShape:
    """The shape in MODEL/config.json. Raises ModelUnsupported naming what cannot be run."""
    path = model / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ModelUnsupported(f"{path} cannot be read: point the model setting at a Hugging Face model directory") from error
    if config.get("model_type") != "llama":
        raise ModelUnsupported(f"model_type {config.get('model_type')!r}: this engine runs Llama architectures (model_type llama) only")
    rope: dict[str, Any] = config.get("rope_parameters") or config.get("rope_scaling") or {}
    wrong = [
        what
        for what, bad in (
            ("attention_bias", config.get("attention_bias")),
            ("mlp_bias", config.get("mlp_bias")),
            (f"hidden_act {config.get('hidden_act')!r}", config.get("hidden_act") != "silu"),
            (f"rope type {rope.get('rope_type')!r}", rope.get("rope_type", "default") != "default"),
        )
        if bad
    ]
    if wrong:
        raise ModelUnsupported(f"{path}: {', '.join(wrong)} is not supported by the MPC engine; choose a model without")
    heads = int(config["num_attention_heads"])
    shape = LlamaShape(
        layers=int(config["num_hidden_layers"]),
        hidden=int(config["hidden_size"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=int(config.get("head_dim") or int(config["hidden_size"]) // heads),
        ffn=int(config["intermediate_size"]),
        vocab=int(config["vocab_size"]),
        rms_epsilon=float(config.get("rms_norm_eps", 1e-6)),
        rope_theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0),
        context=min(int(config["max_position_embeddings"]), 2048),
        tied=bool(config.get("tie_word_embeddings", False)),
    )
    if shape.heads % shape.kv_heads or shape.head_dim % 2:
        raise ModelUnsupported(f"{path}: {shape.heads} heads, {shape.kv_heads} key heads, head size {shape.head_dim} do not fit together")
    return shape
