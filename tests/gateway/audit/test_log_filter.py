"""Log lines carry no content, whatever they are given."""

from __future__ import annotations

import json
import subprocess
import sys

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


SCRIPT = """
import logging, warnings
from gateway.audit.log_filter import configure_logging
configure_logging()
log = logging.getLogger("presidio-analyzer")
log.warning("skipped %s", "Sarah Connor")
try:
    raise ValueError("Sarah Connor")
except ValueError:
    log.exception("in Sarah Connor")
logging.getLogger("uvicorn.error").error("Exception in ASGI application: Sarah Connor")
logging.getLogger("httpx").info("POST /Sarah Connor")
"""


def test_a_librarys_line_comes_without_its_message() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=True)
    assert "Sarah" not in done.stdout + done.stderr
    lines = [json.loads(each) for each in done.stdout.splitlines()]
    assert [(each["event"], each["logger"], each["level"]) for each in lines] == [
        ("library", "presidio-analyzer", "warning"),
        ("library", "presidio-analyzer", "error"),
        ("library", "uvicorn.error", "error"),
    ]
    assert lines[1]["fault"] == "ValueError"
