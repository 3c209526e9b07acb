"""Whether a canary is good enough to serve everybody: a pure decision over what it and the served version answered.

Two kinds of evidence: probes, which the coordinator asks of both in turn, so that there is some without any traffic; and
the gateway's own count of the callers' requests. Not covered: how good the answers are (`evaluate.py` judged that before).
"""

from __future__ import annotations

from collections.abc import Sequence

from federated_trainer.gateway_admin import Traffic
from federated_trainer.settings import ServingSettings

_ENOUGH = 5  # requests on either side before their median seconds are compared


def probe_fault(old_s: Sequence[float], new_s: Sequence[float], settings: ServingSettings) -> str | None:
    """Why the probes speak against the canary, or None. Seconds of each answer, in turn."""
    ratio = _median(new_s) / max(_median(old_s), 1e-3)
    return None if ratio <= settings.max_latency_ratio else f"it answers {ratio:.1f} times slower than the served version"


def traffic_fault(old: Traffic, new: Traffic, settings: ServingSettings) -> str | None:
    """Why the callers' traffic speaks against the canary, or None."""
    if new.requests and new.failed / new.requests > (old.failed / old.requests if old.requests else 0.0) + settings.max_failure_rate:
        return f"{new.failed} of its {new.requests} requests failed"
    if min(old.requests, new.requests) >= _ENOUGH and old.median_s and new.median_s:
        ratio = new.median_s / old.median_s
        if ratio > settings.max_latency_ratio:
            return f"callers wait {ratio:.1f} times longer for it than for the served version"
    return None


def _median(seconds: Sequence[float]) -> float:
    return sorted(seconds)[len(seconds) // 2]
