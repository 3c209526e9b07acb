"""Log lines pass the same filter as audit records: numbers and known words, nothing else.

Whatever a line was given, a traceback's message or a request's text, it leaves as `withheld` unless it is a word of a known
field (`gateway.audit.content_free`). Libraries log through the standard library: of their lines the logger, the level, the place
in the source and an exception's type pass, and never the message, since nobody knows what it was built from. A library that
prints for itself does not pass here.
"""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from gateway.audit.content_free import content_free

LIBRARY_LEVEL = logging.WARNING  # libraries tell their news below that, and there is nothing left of news without its message


def without_content(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace what could carry content; put it just before the renderer."""
    event.pop("exc_info", None)  # a traceback's last line is the exception's message
    event.pop("exception", None)
    event.pop("stack", None)
    return dict(content_free(event))


class LibraryLines(logging.Handler):
    """Hands a library's line on without its message."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.msg if isinstance(record.msg, BaseException) else record.exc_info[1] if record.exc_info else None
        about: dict[str, object] = {"logger": record.name, "places": [f"{record.module}:{record.lineno}"]}
        if error is not None:
            about["fault"] = type(error).__name__
        if isinstance(error, OSError) and error.errno is not None:
            about["code"] = errno.errorcode.get(error.errno, str(error.errno))  # EADDRINUSE, ECONNREFUSED
        structlog.get_logger(record.name).log(record.levelno, "library", **about)


def configure_logging(level: str = "info", stream: TextIO | None = None) -> None:
    """JSON lines on `stream` (standard output unless given), each through the filter; a library's too, and its warnings."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            without_content,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(stream or sys.stdout),
    )
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers = [LibraryLines()]
    root.setLevel(max(LIBRARY_LEVEL, getattr(logging, level.upper())))
