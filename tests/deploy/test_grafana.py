"""The Grafana dashboard asks only for metrics that the gateway has."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prometheus_client import generate_latest

from gateway.http.metrics import PrometheusMeter

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "llmos.json"


def test_every_metric_of_the_dashboard_exists() -> None:
    meter = PrometheusMeter()
    meter.stage("scrub", 0.1)
    meter.outcome("chat.completions", "ok", 0.1)
    meter.replaced({("PERSON", "mask"): 1})
    served = generate_latest(meter.registry).decode()
    queries = [target["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for target in panel["targets"]]
    asked = set(re.findall(r"llmos_[a-z_]+", " ".join(queries)))
    assert asked
    assert all(re.search(rf"^{name}[{{ ]", served, re.MULTILINE) for name in asked)
