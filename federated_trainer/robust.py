"""Averages that a minority of bad updates can't move far: the trimmed mean and Krum, by Flower's own functions.

They need to see each update, so they exclude the secure sum; each client's differential privacy then stands alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from flwr.server.strategy.aggregate import aggregate_krum, aggregate_trimmed_avg

from federated_trainer.errors import BadConfiguration, TooFewClients

Update = npt.NDArray[np.float64]


def robust_mean(updates: Sequence[Update], rule: str) -> Update:
    """[length] float64. trimmed_mean drops a fifth at each end (at least one); krum keeps the most central update.

    Raises TooFewClients under 3 updates (trimmed_mean) or 4 (krum, one bad client), BadConfiguration (another rule).
    """
    if rule not in ("trimmed_mean", "krum"):
        raise BadConfiguration(f"{rule} is no robust rule; take trimmed_mean or krum.")
    if len(updates) < (3 if rule == "trimmed_mean" else 4):
        raise TooFewClients(f"{rule} needs more than {len(updates)} updates to tell a bad one.")
    results = [([update], 1) for update in updates]
    if rule == "trimmed_mean":
        (mean,) = aggregate_trimmed_avg(results, max(0.2, 1 / len(updates)))
    else:
        (mean,) = aggregate_krum(results, num_malicious=max(1, (len(updates) - 3) // 2), to_keep=0)
    return np.asarray(mean, dtype=np.float64)
