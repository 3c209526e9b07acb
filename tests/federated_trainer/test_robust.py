"""One wild update among many moves a robust mean little."""

from __future__ import annotations

import numpy as np
import pytest

from federated_trainer.errors import BadConfiguration, TooFewClients
from federated_trainer.robust import robust_mean

HONEST = [np.full(4, x) for x in (0.9, 1.0, 1.1, 1.0)]


@pytest.mark.parametrize("rule", ["trimmed_mean", "krum"])
def test_wild_update_is_left_out(rule: str) -> None:
    np.testing.assert_allclose(robust_mean([*HONEST, np.full(4, 1e9)], rule), np.ones(4), atol=0.11)


def test_too_few_or_unknown() -> None:
    with pytest.raises(TooFewClients):
        robust_mean(HONEST[:2], "trimmed_mean")
    with pytest.raises(TooFewClients):
        robust_mean(HONEST[:3], "krum")
    with pytest.raises(BadConfiguration):
        robust_mean(HONEST, "median")
