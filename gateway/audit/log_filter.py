"""Log lines pass the same filter as audit records: numbers and known words, nothing else.

A structlog processor. Whatever a line was given, a traceback's message or a request's text, it leaves as `withheld`
unless it is a word of a known field (`gateway.audit.content_free`). It sees what goes through structlog; a library that
prints for itself does not pass here.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import structlog

from gateway.audit.content_free import content_free


def without_content(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace what could carry content; put it just before the renderer."""
    event.pop("exc_info", None)  # a traceback's last line is the exception's message
    event.pop("exception", None)
    event.pop("stack", None)
    return dict(content_free(event))


def configure_logging() -> None:
    """JSON lines on standard output, each through the filter."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            without_content,
            structlog.processors.JSONRenderer(),
        ]
    )
