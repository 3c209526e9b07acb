"""The prepared model: integer weights, public prefix and scales in one safetensors file with one digest.

`prepare` makes it once, in the clear, from open weights; both parties load the same bytes and compare its digest before they start.
Gains of the norms are folded into the next matrix. It does NOT hide the weights: this is for `public` mode.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from mpc_inference.errors import ModelUnsupported
from mpc_inference.llama import plain, scales
from mpc_inference.llama.linear import Matrix
from mpc_inference.llama.quantise import calibrate, layer_matrices, norm_bits
from mpc_inference.llama.shape import LlamaShape, read_shape
from mpc_inference.llama.weights import read_weights
from mpc_inference.tokens import ChatTokens

FORMAT = 2


@dataclass(frozen=True)
class Artifact:
    """A loaded model: matrices (rows, cols) a layer, prefix keys and values as ring integers (tokens, kv_width)."""

    shape: LlamaShape
    layers: tuple[scales.Layer, ...]
    prefix_tokens: tuple[int, ...]
    matrices: Mapping[str, tuple[Matrix, ...]]
    prefix_k: tuple[NDArray[np.uint64], ...]
    prefix_v: tuple[NDArray[np.uint64], ...]
    digest: str


def prepare(model: Path, target: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Write the artifact of the Hugging Face directory `model` to the file `target`, atomically.

    progress(done, total) is called a layer at a time. Raises ModelUnsupported.
    """
    shape, weights, tokens = read_shape(model), read_weights(model), ChatTokens(model)
    prefix = tokens.public_prefix()
    calibration = calibrate(shape, weights, tokens)
    _, trace = plain.forward(shape, weights, np.array(prefix, np.int64))
    tensors: dict[str, NDArray[np.int16] | NDArray[np.int64]] = {}
    layers = []
    for i in range(shape.layers):
        layers.append(scales.Layer(*(norm_bits(m, shape.hidden) for m in calibration.mean_squares[i])))
        for name, made in layer_matrices(weights, i).items():
            tensors[f"{i}.{name}"], tensors[f"{i}.{name}_factor"] = made.weight, made.factor.view(np.int64)
        for name, cache, bits in (("prefix_k", trace.keys[i], scales.HEAD), ("prefix_v", trace.values[i], scales.VALUE)):
            tensors[f"{i}.{name}"] = np.rint(cache.reshape(len(prefix), -1).astype(np.float64) * 2**bits).astype(np.int64)
        progress(i + 1, shape.layers)
    meta = {
        "format": str(FORMAT),
        "shape": shape.to_json(),
        "layers": json.dumps([asdict(layer) for layer in layers]),
        "prefix": json.dumps(list(prefix)),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_suffix(".part")
    save_file(tensors, scratch, metadata=meta)
    os.replace(scratch, target)


def is_current(path: Path) -> bool:
    """Whether `path` is an artifact that this release loads."""
    if not path.exists():
        return False
    with safe_open(path, framework="np") as file:
        return (file.metadata() or {}).get("format") == str(FORMAT)


def load(path: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> Artifact:
    """The artifact in `path`, with the SHA-256 of the whole file. Raises ModelUnsupported for another format."""
    if not path.exists():
        raise ModelUnsupported(f"{path} does not exist: prepare the model first (`llmos mpc init`)")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(1 << 22), b""):
            digest.update(piece)
    with safe_open(path, framework="np") as file:
        meta = file.metadata() or {}
        if meta.get("format") != str(FORMAT):
            raise ModelUnsupported(f"{path} has format {meta.get('format')}, this engine reads {FORMAT}: prepare the model again")
        shape = LlamaShape.from_json(meta["shape"])
        matrices: dict[str, list[Matrix]] = {name: [] for name in ("qkv", "out", "gate_up", "down")}
        prefix: dict[str, list[NDArray[np.uint64]]] = {name: [] for name in ("prefix_k", "prefix_v")}
    for i in range(shape.layers):
        # Opened anew for each layer: a page of a mapped file counts as this process's memory until the file is closed.
        with safe_open(path, framework="np") as file:
            for name, kept in matrices.items():
                kept.append(Matrix(file.get_tensor(f"{i}.{name}"), file.get_tensor(f"{i}.{name}_factor").view(np.uint64)))
            for name, cached in prefix.items():
                cached.append(np.ascontiguousarray(file.get_tensor(f"{i}.{name}")).view(np.uint64))
        progress(i + 1, shape.layers)
    return Artifact(
        shape=shape,
        layers=tuple(scales.Layer(**layer) for layer in json.loads(meta["layers"])),
        prefix_tokens=tuple(json.loads(meta["prefix"])),
        matrices={name: tuple(kept) for name, kept in matrices.items()},
        prefix_k=tuple(prefix["prefix_k"]),
        prefix_v=tuple(prefix["prefix_v"]),
        digest=digest.hexdigest(),
    )
