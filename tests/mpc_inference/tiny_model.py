"""A tiny Llama with a real tokenizer and template, prepared and deployed: quick enough for every test."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from gateway.serving.free_ports import free_ports
from mpc_inference import launch
from mpc_inference.config import Deployment, Endpoint, Mode, read_config, write_config

TEMPLATE = (
    "{% if messages[0].role != 'system' %}<start>system helpful<end>{% endif %}"
    "{% for m in messages %}<start>{{ m.role }} {{ m.content }}<end>{% endfor %}<start>assistant "
)
WORDS = ["<unk>", "<start>", "<end>", "system", "user", "assistant", "helpful", "0", "zero", "Zulu?", *[f"w{i}" for i in range(54)]]


def write_model(directory: Path, **changes: object) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": "llama",
        "hidden_act": "silu",
        "num_hidden_layers": 2,
        "hidden_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "intermediate_size": 96,
        "vocab_size": len(WORDS),
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
        "eos_token_id": 2,
        **changes,
    }
    (directory / "config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.add_special_tokens(["<unk>", "<start>", "<end>"])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE, "eos_token": "<end>"}))
    rng = np.random.default_rng(5)
    d, f, kv = 64, 96, 32
    sizes = {
        "self_attn.q_proj": (d, d),
        "self_attn.k_proj": (kv, d),
        "self_attn.v_proj": (kv, d),
        "self_attn.o_proj": (d, d),
        "mlp.gate_proj": (f, d),
        "mlp.up_proj": (f, d),
        "mlp.down_proj": (d, f),
    }
    tensors = {"model.embed_tokens.weight": rng.normal(0, 1, (len(WORDS), d)), "model.norm.weight": rng.uniform(0.5, 1.5, d)}
    for i in range(2):
        for name, shape in sizes.items():
            tensors[f"model.layers.{i}.{name}.weight"] = rng.normal(0, 0.2, shape)
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{i}.{name}.weight"] = rng.uniform(0.5, 1.5, d)
    save_file({k: v.astype(np.float32) for k, v in tensors.items()}, directory / "model.safetensors")
    return directory


def deploy(root: Path, mode: Mode = "public") -> Path:
    """Write, prepare and configure the model under `root`; answers the deployment file."""
    config = launch.init(root / "deployment", write_model(root / "model"), mode=mode)
    ports = free_ports(3)
    changed = {
        "dealer": Endpoint(port=ports[0]),
        "parties": (Endpoint(port=ports[1]), Endpoint(port=ports[2])),
        "context_tokens": 128,
        "stock_tokens": 8,
        "deadline_s": 5.0,
        "queue_requests": 4,
    }
    write_config(config, Deployment.model_validate(read_config(config).model_dump() | changed))
    return config
