"""GET /metrics in Prometheus' text format: counts and times under labels out of closed sets.

In production it asks for a key of a role that may read metrics: exact counts would undo the noise of the statistics that an analyst
gets instead. It is the pipeline's `Meter`. Labels are stages, API names, error codes, entity types and actions; no tenant, key or
model, since those grow without bound. Entity types come from policies; past `MAX_ENTITIES` further ones count as OTHER. With several
workers the page is the sum of all: `llmos serve` sets the library's own variable PROMETHEUS_MULTIPROC_DIR before it starts them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.requests import Request
from starlette.responses import Response

from gateway.access.roles import Permission, require
from gateway.errors import Unauthenticated
from gateway.exchange import Api, Target
from gateway.pipeline import Parts

MAX_ENTITIES = 100
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class PrometheusMeter:
    """The counters of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._stages = Histogram(
            "llmos_stage_seconds", "Time spent in a stage of a request.", ["stage"], buckets=_SECONDS, registry=self.registry
        )
        self._requests = Histogram(
            "llmos_request_seconds", "Time from the head of a request to its end.", ["api"], buckets=_SECONDS, registry=self.registry
        )
        self._outcomes = Counter(
            "llmos_requests", "Requests by API and outcome (`ok`, an error code).", ["api", "outcome"], registry=self.registry
        )
        self._replaced = Counter("llmos_values", "Detected values by entity type and action.", ["entity", "action"], registry=self.registry)
        self._routes = Counter("llmos_routed", "Requests by where they were sent.", ["route"], registry=self.registry)
        self._mpc_tokens = Histogram(
            "llmos_mpc_token_seconds",
            "Time from one token of secret-shared inference to the next; the first includes the prompt and the queue.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.in_progress = Gauge(
            "llmos_requests_in_progress", "Requests now in progress.", multiprocess_mode="livesum", registry=self.registry
        )
        self.turned_away = Counter(
            "llmos_requests_turned_away",
            "Requests turned away unread because a worker was at LLMOS_MAX_CONCURRENT_REQUESTS; no other count has them.",
            registry=self.registry,
        )
        self._entities: set[str] = set()
        # `labels` looks its child up under a lock, several times a request: so each child is kept here
        self._stage = cache(self._stages.labels)
        self._request = cache(self._requests.labels)
        self._outcome = cache(self._outcomes.labels)

    def stage(self, name: str, seconds: float) -> None:
        """One stage of one request took so long."""
        self._stage(name).observe(seconds)

    def outcome(self, api: Api, outcome: str, seconds: float) -> None:
        """One request ended so."""
        self._outcome(api, outcome).inc()
        self._request(api).observe(seconds)

    def replaced(self, counts: Mapping[tuple[str, str], int]) -> None:
        """What was found in one request."""
        for (entity, action), number in counts.items():
            if entity not in self._entities and len(self._entities) < MAX_ENTITIES:
                self._entities.add(entity)
            self._replaced.labels(entity if entity in self._entities else "OTHER", action).inc(number)

    def routed(self, target: Target) -> None:
        """One request goes there."""
        self._routes.labels(target).inc()

    def mpc_token(self, seconds: float) -> None:
        """One token of secret-shared inference took so long."""
        self._mpc_tokens.observe(seconds)


async def metrics(request: Request) -> Response:
    """The page that Prometheus scrapes. Raises Unauthenticated, Forbidden and TooManyAttempts where it asks for a key."""
    if request.app.state.metrics_need_key:
        await _check_reader(request)
    meter: PrometheusMeter = request.app.state.meter
    registry = meter.registry
    if directory := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry, directory)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


async def _check_reader(request: Request) -> None:
    parts: Parts = request.app.state.parts
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    principal = await parts.keys.find(key.strip()) if scheme.lower() == "bearer" else None
    if principal is None:
        await parts.attempts.failed(request.client.host if request.client else "")
        raise Unauthenticated("Send a key of the role `monitor` as `Authorization: Bearer …` (Prometheus: authorization.credentials_file).")
    require(principal, Permission.READ_METRICS)
