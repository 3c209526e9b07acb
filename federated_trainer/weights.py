"""Trained weights as one flat vector, with a layout that says which coordinates are which tensor.

Clients and server agree on the layout by its digest: a client with another LoRA shape or other layers is refused before
anything is added up.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from federated_trainer.errors import BadUpdate

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Layout:
    """Tensor names in ascending order, and their shapes."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, tensors: Mapping[str, npt.NDArray[np.float32]]) -> Layout:
        names = tuple(sorted(tensors))
        return cls(names, tuple(tuple(int(side) for side in tensors[name].shape) for name in names))

    @property
    def length(self) -> int:
        return sum(int(np.prod(shape)) for shape in self.shapes)

    def digest(self) -> str:
        """SHA-256 in hex over names and shapes."""
        return hashlib.sha256(json.dumps([self.names, self.shapes]).encode()).hexdigest()

    def flatten(self, tensors: Mapping[str, npt.NDArray[np.float32]]) -> Vector:
        """[length] float32. Raises BadUpdate where a tensor is missing, unknown, or of another shape."""
        if Layout.of(tensors) != self:
            raise BadUpdate("The weights do not have the tensors and shapes that the federation trains; use the same adapter settings.")
        return np.concatenate([np.asarray(tensors[name], dtype=np.float32).ravel() for name in self.names])

    def unflatten(self, vector: Vector) -> dict[str, npt.NDArray[np.float32]]:
        """The tensors of a vector. Raises BadUpdate where it has another length or is not finite."""
        check_vector(vector, self.length)
        tensors, start = {}, 0
        for name, shape in zip(self.names, self.shapes, strict=True):
            size = int(np.prod(shape))
            tensors[name] = vector[start : start + size].reshape(shape).astype(np.float32)
            start += size
        return tensors


def check_vector(vector: npt.NDArray[np.floating], length: int, norm_limit: float | None = None) -> None:
    """Raises BadUpdate where the vector has another length, a value that is not finite, or a norm over the limit."""
    if vector.shape != (length,):
        raise BadUpdate(f"The vector has shape {vector.shape}; the federation trains {length} coordinates.")
    if not np.all(np.isfinite(vector)):
        raise BadUpdate("The vector has values that are not finite.")
    if norm_limit is not None and float(np.linalg.norm(vector.astype(np.float64))) > norm_limit:
        raise BadUpdate(f"The vector's norm is over the limit of {norm_limit}.")
