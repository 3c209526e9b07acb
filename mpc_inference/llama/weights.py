"""Float weights of a Hugging Face Llama directory, without torch.

Reads safetensors (never a pickle) in F32, F16 or BF16 into float32 NumPy arrays. In `public` mode these are open weights.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import deserialize

from mpc_inference.errors import ModelUnsupported

F32 = NDArray[np.float32]


def _decode(dtype: str, data: bytes, shape: list[int]) -> F32:
    if dtype == "BF16":
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32).reshape(shape)
    if dtype == "F16":
        return np.frombuffer(data, np.float16).astype(np.float32).reshape(shape)
    if dtype == "F32":
        return np.frombuffer(data, np.float32).reshape(shape)
    raise ModelUnsupported(f"weights of type {dtype} are not supported: convert the model to BF16, F16 or F32 safetensors")


def read_weights(model: Path, only: tuple[str, ...] | None = None) -> dict[str, F32]:
    """Every tensor of the directory's *.safetensors (or those whose name starts with one of `only`).

    Raises ModelUnsupported when there is no such file, or a type that cannot be decoded.
    """
    files = sorted(model.glob("*.safetensors"))
    if not files:
        raise ModelUnsupported(f"no *.safetensors in {model}: a pickled checkpoint is never read; convert it to safetensors")
    out: dict[str, F32] = {}
    for path in files:
        for name, item in deserialize(path.read_bytes()):  # type: ignore[no-untyped-call]
            if only is None or name.startswith(only):
                out[name] = _decode(item["dtype"], bytes(item["data"]), list(item["shape"]))
    return out
