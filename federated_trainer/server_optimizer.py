"""The server's step from the global weights along the mean update.

FedAvg (McMahan et al. 2017): w ← w + η · mean, with η = 1 the weighted mean of the clients' weights. FedAdam (Reddi et al.
2021, algorithm 2): the mean is a pseudo-gradient with moments. A step's state is committed only when its weights were
accepted, so that a refused round leaves no trace.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
