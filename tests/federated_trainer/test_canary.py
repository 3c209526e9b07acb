"""The canary's verdict: failures and slowness over the limits speak against it, thin evidence does not."""

from __future__ import annotations

import pytest

from federated_trainer.canary import probe_fault, traffic_fault
from federated_trainer.gateway_admin import Traffic
from federated_trainer.settings import ServingSettings

SETTINGS = ServingSettings(max_latency_ratio=3.0, max_failure_rate=0.01)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (Traffic(), Traffic(), None),
        (Traffic(100, 0, 0.2), Traffic(10, 0, 0.2), None),
        (Traffic(100, 0, 0.2), Traffic(10, 1, 0.2), "failed"),
        (Traffic(100, 20, 0.2), Traffic(10, 2, 0.2), None),  # as the served one does
        (Traffic(100, 0, 0.2), Traffic(1000, 9, 0.2), None),  # within the margin
        (Traffic(100, 0, 0.2), Traffic(10, 0, 0.7), "longer"),
        (Traffic(100, 0, 0.2), Traffic(4, 0, 0.7), None),  # too few to compare
        (Traffic(), Traffic(1, 1, 0.2), "failed"),
    ],
)
def test_traffic(old: Traffic, new: Traffic, says: str | None) -> None:
    fault = traffic_fault(old, new, SETTINGS)
    assert (fault is None) == (says is None)
    assert says is None or says in str(fault)


def test_probes_compare_medians() -> None:
    assert probe_fault([1.0, 1.0, 1.0], [1.0, 9.0, 1.2], SETTINGS) is None
    assert "9.0 times" in str(probe_fault([1.0, 1.0, 1.0], [9.0, 9.0, 1.2], SETTINGS))
