"""A model prepared for `owner` or `shared` mode: what its owner makes once a version, and what each role loads of it.

The owner draws a seed for each party and subtracts the masks that they stand for: E = W - B. A new version has new seeds, so a mask never
covers two versions. Files in one directory, MODE.json naming the others by their hash:

    masked.safetensors   E and the masked keys and values of the template prefix   both parties (owner mode: party 0)
    owner.safetensors    plain weights, and the same masked prefix                  owner mode: party 1
    party0.key, party1.key, dealer.key   seeds, mode 600                            each role its own, and no other

In shared mode B = B0 + B1 and W = E + B0 + B1 is an additive sharing between the parties. In owner mode B = B1. Public: the shape, and
for each norm how many fraction bits it is squared at (which tells a power of two of the activations' size). It does NOT protect the
files of the owner.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from mpc_inference import prg
from mpc_inference.errors import HandshakeRefused, ModelUnsupported
from mpc_inference.llama import plain, scales
from mpc_inference.llama.linear import TENSORS, Holding, MaskedWeights, Matrix, OwnWeights
from mpc_inference.llama.quantise import calibrate, layer_matrices, norm_bits, quantise
from mpc_inference.llama.shape import LlamaShape, read_shape
from mpc_inference.llama.weights import read_weights
from mpc_inference.native.core import U64, Core
from mpc_inference.tokens import ChatTokens

FORMAT = 2
Mode = Literal["owner", "shared"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PrivateCard:
    """What every role may know of a prepared private model."""

    mode: Mode
    shape: LlamaShape
    layers: tuple[scales.Layer, ...]
    final_norm: int
    prefix_tokens: tuple[int, ...]
    files: Mapping[str, str]
    digest: str


@dataclass(frozen=True)
class PartyModel:
    """A party's part: its holding of the weights, and the prefix as a cache holds it, (layers, tokens, kv_width)."""

    card: PrivateCard
    holding: Holding
    prefix: Mapping[str, U64]


@dataclass(frozen=True)
class DealerModel:
    """The dealer's part: the fixed masks of weights, by layer and name, and of the prefix, (layers, tokens, kv_width)."""

    card: PrivateCard
    masks: Mapping[tuple[int, str], U64]
    key_masks: U64
    value_masks: U64


def _places(shape: LlamaShape) -> list[tuple[int, str, tuple[int, int]]]:
    """Every matrix: layer, name, (rows, columns)."""
    d, q, kv, f, v = shape.hidden, shape.q_width, shape.kv_width, shape.ffn, shape.vocab
    sizes = {"qkv": (q + 2 * kv, d), "out": (d, q), "gate_up": (2 * f, d), "down": (d, f)}
    of_layers = [(i, name, size) for i in range(shape.layers) for name, size in sizes.items()]
    return [*of_layers, (shape.layers, "embedding", (d, v)), (shape.layers, "head", (v, d))]


def _mask(seed: bytes, layer: int, name: str, size: tuple[int, int]) -> U64:
    return prg.stream(seed, TENSORS.index(name), layer, size[0] * size[1] * 8).view(np.uint64).reshape(size)


def _weight_mask(mode: Mode, seeds: tuple[bytes, bytes], layer: int, name: str, size: tuple[int, int]) -> U64:
    own = _mask(seeds[1], layer, name, size)
    return own if mode == "owner" else own + _mask(seeds[0], layer, name, size)


def prepare(model: Path, directory: Path, mode: Mode, progress: Progress = lambda done, total: None) -> Path:
    """Write a new version of the Hugging Face directory `model` under `directory`; answers the manifest's path. Raises ModelUnsupported."""
    shape, weights, tokens = read_shape(model), read_weights(model), ChatTokens(model)
    prefix = tokens.public_prefix()
    seeds = (prg.new_seed(), prg.new_seed())
    calibration = calibrate(shape, weights, tokens)
    _, trace = plain.forward(shape, weights, np.array(prefix, np.int64))
    masked: dict[str, NDArray[Any]] = {}
    own: dict[str, NDArray[Any]] = {}
    layers, matrices = [], dict[str, Matrix]()
    for layer, name, size in _places(shape):
        if name == "qkv":
            matrices = layer_matrices(weights, layer)
            layers.append(scales.Layer(*(norm_bits(m, shape.hidden) for m in calibration.mean_squares[layer])))
            progress(layer + 1, shape.layers + 2)
        elif name == "embedding":
            matrices[name] = quantise(weights["model.embed_tokens.weight"].T, scales.WEIGHT_BITS[name])
        elif name == "head":
            head = weights["model.embed_tokens.weight" if shape.tied else "lm_head.weight"] * weights["model.norm.weight"]
            matrices[name] = quantise(head, scales.WEIGHT_BITS[name])
        made = matrices.pop(name)
        masked[f"{layer}.{name}"] = (made.words() - _weight_mask(mode, seeds, layer, name, size)).view(np.int64)
        if mode == "owner":
            own[f"{layer}.{name}"], own[f"{layer}.{name}_factor"] = made.weight, made.factor.view(np.int64)
    for name, caches, bits in (("prefix_k", trace.keys, scales.HEAD), ("prefix_v", trace.values, scales.VALUE)):
        size = (len(prefix), shape.kv_width)
        plain_words = [np.rint(c.reshape(size).astype(np.float64) * 2**bits).astype(np.int64).view(np.uint64) for c in caches]
        opened = [w + _mask(seeds[0], i, name, size) + _mask(seeds[1], i, name, size) for i, w in enumerate(plain_words)]
        masked[name] = np.stack(opened).view(np.int64)
        own[name] = masked[name]
    directory.mkdir(parents=True, exist_ok=True)
    files = {"masked.safetensors": masked, **({"owner.safetensors": own} if mode == "owner" else {})}
    for name, tensors in files.items():
        save_file(tensors, directory / (name + ".part"))
        os.replace(directory / (name + ".part"), directory / name)
    progress(shape.layers + 2, shape.layers + 2)
    for role, known in (("party0", seeds[:1]), ("party1", seeds[1:]), ("dealer", seeds)):
        _write_key(directory / f"{role}.key", [seed.hex() for seed in known])
    manifest = directory / f"{mode}.json"
    card = {
        "format": FORMAT,
        "mode": mode,
        "shape": json.loads(shape.to_json()),
        "layers": [asdict(layer) for layer in layers],
        "final_norm": norm_bits(calibration.last, shape.hidden),
        "prefix": list(prefix),
        "files": {name: _digest(directory / name) for name in files},
    }
    manifest.write_text(json.dumps(card, sort_keys=True, indent=1))
    return manifest


def _write_key(path: Path, seeds: list[str]) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(seeds, file)


def _read_key(manifest: Path, role: str, count: int) -> list[bytes]:
    path = manifest.with_name(f"{role}.key")
    try:
        seeds = [bytes.fromhex(one) for one in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError) as error:
        raise ModelUnsupported(f"{path} cannot be read: {role} needs its key file beside {manifest.name}") from error
    if [len(one) for one in seeds] != [prg.SEED_BYTES] * count:
        raise ModelUnsupported(f"{path} is not a key file of {role}")
    return seeds


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_current(manifest: Path) -> bool:
    """Whether `manifest` is one that this release loads."""
    try:
        return bool(read_card(manifest))
    except ModelUnsupported:
        return False


def read_card(manifest: Path) -> PrivateCard:
    """What a manifest says. Raises ModelUnsupported."""
    try:
        raw = manifest.read_bytes()
        card: dict[str, Any] = json.loads(raw)
        if card["format"] != FORMAT:
            raise ModelUnsupported(f"{manifest} has format {card['format']}, this engine reads {FORMAT}: prepare the model again")
        return PrivateCard(
            card["mode"],
            LlamaShape(**card["shape"]),
            tuple(scales.Layer(**layer) for layer in card["layers"]),
            int(card["final_norm"]),
            tuple(card["prefix"]),
            card["files"],
            hashlib.sha256(raw).hexdigest(),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelUnsupported(f"{manifest} cannot be read: prepare the model first (`llmos mpc init`)") from error


def load_party(manifest: Path, party: int, core: Core, progress: Progress = lambda done, total: None) -> PartyModel:
    """A party's part. Raises ModelUnsupported, HandshakeRefused when a file is not the one that the manifest names."""
    card = read_card(manifest)
    (seed,) = _read_key(manifest, f"party{party}", 1)
    shape, owns = card.shape, card.mode == "owner" and party == 1
    path = manifest.with_name("owner.safetensors" if owns else "masked.safetensors")
    if not path.exists() or _digest(path) != card.files[path.name]:
        raise HandshakeRefused(f"{path} is missing, or not the file that {manifest.name} names: copy it again from where it was prepared")
    plain_weights: dict[tuple[int, str], Matrix] = {}
    masked: dict[tuple[int, str], U64] = {}
    for layer, name, _ in _places(shape):
        # Opened anew for each: a page of a mapped file counts as this process's memory until the file is closed.
        with safe_open(path, framework="np") as file:
            tensor = file.get_tensor(f"{layer}.{name}")
            if owns:
                plain_weights[layer, name] = Matrix(tensor, file.get_tensor(f"{layer}.{name}_factor").view(np.uint64))
            else:
                masked[layer, name] = tensor.view(np.uint64)
        progress(min(layer + 1, shape.layers), shape.layers)
    with safe_open(path, framework="np") as file:
        prefix: dict[str, U64] = {}
        size = (len(card.prefix_tokens), shape.kv_width)
        for short, name in (("k", "prefix_k"), ("v", "prefix_v")):
            opened = file.get_tensor(name).view(np.uint64)
            mask = np.stack([_mask(seed, i, name, size) for i in range(shape.layers)])
            prefix[f"{short}_open"], prefix[f"{short}_share"] = opened, (opened if party == 0 else np.uint64(0)) - mask
    if owns:
        return PartyModel(card, OwnWeights(core, plain_weights), prefix)
    return PartyModel(card, MaskedWeights(core, masked, seed if card.mode == "shared" else None, with_masked=party == 0), prefix)


def load_dealer(manifest: Path, progress: Progress = lambda done, total: None) -> DealerModel:
    """The dealer's part: it holds no weight. Raises ModelUnsupported."""
    card = read_card(manifest)
    first, second = _read_key(manifest, "dealer", 2)
    shape, masks = card.shape, dict[tuple[int, str], U64]()
    for layer, name, size in _places(shape):
        masks[layer, name] = _weight_mask(card.mode, (first, second), layer, name, size)
        progress(min(layer + 1, shape.layers), shape.layers)
    size = (len(card.prefix_tokens), shape.kv_width)
    key_masks, value_masks = (
        np.stack([_mask(first, i, name, size) + _mask(second, i, name, size) for i in range(shape.layers)]) for name in TENSORS[-2:]
    )
    return DealerModel(card, masks, key_masks, value_masks)
