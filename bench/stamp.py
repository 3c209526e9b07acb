"""On which machine, with which Python and when a report was made."""

from __future__ import annotations

import datetime
import os
import platform
from typing import Any


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def now() -> str:
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"


def stamped(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures with `machine` and `when`."""
    return {**figures, "machine": machine(), "when": now()}
