"""Traces reach a collector as spans by stage, and no content goes along."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from gateway.backends.otel import OtelTracer


@dataclass
class Collector:
    """Takes OTLP over HTTP and keeps what came."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)

    def handler(self) -> type[BaseHTTPRequestHandler]:
        bodies = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
                return

        return Handler


@pytest.fixture
def collector() -> Iterator[Collector]:
    kept = Collector()
    server = ThreadingHTTPServer(("127.0.0.1", 0), kept.handler())
    kept.url = f"http://127.0.0.1:{server.server_port}/v1/traces"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield kept
    server.shutdown()


def test_a_request_is_a_span_with_one_inside_it_for_each_stage(collector: Collector) -> None:
    tracer = OtelTracer(collector.url)
    record = {"request_id": "req_1", "outcome": "upstream_failed", "status": 502, "counts": {"PERSON:surrogate": 2}, "tokens": {"total": 3}}
    stages = [("scrub", 1000.0, 0.25), ("infer", 1000.25, 1.5)]
    tracer.request({**record, "prompt": "Sarah Connor", "model": "Sarah Connor"}, 1000.0, stages)
    tracer.close()
    assert b"Sarah" not in b"".join(collector.bodies)
    (body,) = collector.bodies
    (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    spans = {span.name: span for scope in resource.scope_spans for span in scope.spans}
    assert set(spans) == {"llmos.request", "llmos.scrub", "llmos.infer"}
    whole = spans["llmos.request"]
    assert {spans[name].parent_span_id for name in ("llmos.scrub", "llmos.infer")} == {whole.span_id}
    assert (spans["llmos.infer"].end_time_unix_nano - spans["llmos.infer"].start_time_unix_nano) == 1_500_000_000
    assert whole.end_time_unix_nano - whole.start_time_unix_nano == 1_750_000_000
    attributes = {each.key: each.value for each in whole.attributes}
    assert attributes["llmos.counts.PERSON:surrogate"].int_value == 2
    assert attributes["llmos.model"].string_value == "withheld"
    assert whole.status.code == 2  # ERROR


def test_a_collector_that_is_away_harms_nobody(collector: Collector) -> None:
    tracer = OtelTracer("http://127.0.0.1:9/v1/traces")
    tracer.request({"status": 200}, 1000.0, [("scrub", 1000.0, 0.1)])
    tracer.close()
