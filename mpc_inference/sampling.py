"""Drawing the next token from logits, in the client's process.

Temperature 0 is the arg max. Otherwise temperature, then nucleus (top-p), then one draw with randomness from the operating system, or from
a caller's seed for repeatable answers. It does NOT add any privacy: the draw is the caller's own.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives import hashes
from numpy.typing import NDArray

from mpc_inference.errors import InvalidSampling


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn. Raises InvalidSampling out of range."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 2.0:
            raise InvalidSampling("temperature must lie between 0 and 2")
        if not 0.0 < self.top_p <= 1.0:
            raise InvalidSampling("top_p must lie above 0 and at most at 1")

    def draw(self, logits: NDArray[np.float32], position: int) -> int:
        """One token id from logits (vocab,)."""
        if self.temperature == 0.0:
            return int(logits.argmax())
        p = np.exp((logits - logits.max()).astype(np.float64) / self.temperature)
        p /= p.sum()
        kept = np.arange(len(p))  # by number, not by size: noise of the protocol then moves edges and swaps no two tokens
        if self.top_p < 1.0:
            order = np.argsort(-p)
            kept = np.sort(order[: int(np.searchsorted(np.cumsum(p[order]), self.top_p)) + 1])
        return int(kept[np.searchsorted(np.cumsum(p[kept]), self._unit(position) * p[kept].sum()).clip(0, len(kept) - 1)])

    def _unit(self, position: int) -> float:
        if self.seed is None:
            return secrets.randbits(53) / 2**53
        digest = hashes.Hash(hashes.SHA256())
        digest.update(f"{self.seed}:{position}".encode())
        return int.from_bytes(digest.finalize()[:8], "big") / 2**64
