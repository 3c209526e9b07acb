"""The server's step from the global weights along the mean update.

FedAvg (McMahan et al. 2017): w ← w + η · mean, with η = 1 the weighted mean of the clients' weights. FedAdam (Reddi et al.
2021, algorithm 2): the mean is a pseudo-gradient with moments. A step's state is committed only when its weights were
accepted, so that a refused round leaves no trace. Moments outlive a run in a file of the coordinator's, bound to the version that
they led to: after a rollback, or a crash between publishing and writing them, the moments begin anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from federated_trainer.weights import Vector

Moments = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


@dataclass
class ServerOptimizer:
    """kind: fedavg or fedadam. tau: the degree of adaptivity, added to the root of the second moment."""

    kind: str
    learning_rate: float = 1.0
    beta_1: float = 0.9
    beta_2: float = 0.99
    tau: float = 1e-3
    _moments: Moments | None = None

    def step(self, weights: Vector, mean_update: npt.NDArray[np.float64]) -> tuple[Vector, Moments | None]:
        """([length] float32 new weights, the state to commit if they are accepted)."""
        if self.kind == "fedavg":
            return (weights.astype(np.float64) + self.learning_rate * mean_update).astype(np.float32), None
        first, second = self._moments or (np.zeros_like(mean_update), np.zeros_like(mean_update))
        first = self.beta_1 * first + (1 - self.beta_1) * mean_update
        second = self.beta_2 * second + (1 - self.beta_2) * np.square(mean_update)
        moved = weights.astype(np.float64) + self.learning_rate * first / (np.sqrt(second) + self.tau)
        return moved.astype(np.float32), (first, second)

    def commit(self, state: Moments | None) -> None:
        self._moments = state

    def save(self, file: Path, version: int) -> None:
        """Keep the moments that led to `version`; without moments there is nothing to keep."""
        if self._moments is None:
            return
        first, second = self._moments
        partial = file.with_name(file.name + ".partial")
        save_file({"first": first, "second": second}, partial, metadata={"version": str(version)})
        partial.replace(file)

    def resume(self, file: Path, version: int, length: int) -> bool:
        """Take up the moments that led to `version`. False where the file is absent, damaged, or of another version or length."""
        if self.kind == "fedavg" or not file.exists():
            return False
        try:
            with safe_open(file, framework="numpy") as kept:
                if (kept.metadata() or {}).get("version") != str(version):
                    return False
                moments = (kept.get_tensor("first"), kept.get_tensor("second"))
        except (SafetensorError, OSError):
            return False
        if any(moment.shape != (length,) or not np.isfinite(moment).all() for moment in moments):
            return False
        self._moments = moments
        return True
