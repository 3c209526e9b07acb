"""Log lines carry no content, whatever they are given."""

from __future__ import annotations

import json

from structlog.processors import JSONRenderer

from gateway.audit.log_filter import without_content


def line(**event: object) -> str:
    return str(JSONRenderer()(None, "error", without_content(None, "error", event)))


def test_words_and_numbers_pass() -> None:
    event = {"event": "fault", "level": "error", "timestamp": "2026-01-02T03:04:05Z", "request_id": "req_0123456789ab", "status": 500}
    assert json.loads(line(**event, places=["gateway/pipeline.py:88"])) == {**event, "places": ["gateway/pipeline.py:88"]}


def test_content_does_not() -> None:
    said = line(
        event="Sarah Connor called", prompt="Sarah Connor", error="no such user sarah.connor@acme.com", exception="ValueError: Sarah Connor"
    )
    assert "Sarah" not in said
    assert "sarah" not in said
