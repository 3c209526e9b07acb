"""Traces by OpenTelemetry, where an endpoint is configured: one span a request, one inside it for each stage.

Spans are made when a request has ended, from the same record that goes into the audit and through the same filter
(`gateway.audit.content_free`), so that they can't carry content. No trace context is taken from a caller, whose header could
carry text, and none is given to a model server. What leaves is the names, times and counts of the audit's outcome records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from gateway.audit.content_free import content_free

SERVICE = "llmos-gateway"
EXPORT_TIMEOUT_S = 5.0


class OtelTracer:
    """Implements `gateway.ports.Tracer`; batches leave in a thread of the SDK's, and are dropped where nobody takes them."""

    def __init__(self, endpoint: str) -> None:
        """`endpoint` takes OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces."""
        self._provider = TracerProvider(resource=Resource({"service.name": SERVICE}), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_TIMEOUT_S)))
        self._tracer = self._provider.get_tracer("llmos")

    def request(self, record: Mapping[str, object], begun_unix_s: float, stages: Sequence[tuple[str, float, float]]) -> None:
        """Make the spans of one ended request."""
        status = record.get("status")
        whole = self._tracer.start_span(
            "llmos.request", kind=SpanKind.SERVER, start_time=_ns(begun_unix_s), attributes=dict(_flat("llmos", content_free(record)))
        )
        inside = set_span_in_context(whole)
        end_unix_s = begun_unix_s
        for name, stage_begun_unix_s, seconds in stages:
            end_unix_s = max(end_unix_s, stage_begun_unix_s + seconds)
            stage = self._tracer.start_span(f"llmos.{name}", context=inside, start_time=_ns(stage_begun_unix_s))
            stage.end(_ns(stage_begun_unix_s + seconds))
        if isinstance(status, int) and status >= 500:
            whole.set_status(Status(StatusCode.ERROR))
        whole.end(_ns(end_unix_s))

    def close(self) -> None:
        """Send what waits, for a few seconds at most."""
        self._provider.shutdown()


def _ns(unix_s: float) -> int:
    return int(unix_s * 1e9)


def _flat(name: str, value: object) -> Sequence[tuple[str, str | int | float | bool]]:
    """Nested mappings as dotted names; what is no scalar is left out."""
    if isinstance(value, Mapping):
        return [pair for key, inner in value.items() for pair in _flat(f"{name}.{key}", inner)]
    return [(name, value)] if isinstance(value, str | int | float | bool) else []
