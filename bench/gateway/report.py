"""The report page: tables of one run, and the targets beside what was measured."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from bench.gateway.load import Target, quantile
from bench.gateway.processes import LITELLM

QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Goal:
    """One target of the project: what was to be reached, what was measured, and whether it holds."""

    what: str
    bound: str
    measured: str
    holds: bool


def head() -> list[str]:
    """What ran where."""
    return [
        "# What the gateway adds",
        "",
        "Made by `make bench-gateway`. All processes, the stub and the load client share the machine; every table is of one run, and the",
        "targets are asked in turn, block by block. `CPU` is the time that the target's process and its children spent on one request.",
        "LLMOS detects in a process of its own and LiteLLM in a Presidio service, which is not in its CPU column.",
        "",
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, LLMOS {_version('llmos')}, aiohttp {_version('aiohttp')}, uvicorn {_version('uvicorn')}, "
        f"{LITELLM}. All of it ran at niceness {os.nice(0)}; load average at the end {os.getloadavg()[0]:.1f}.",
        "",
    ]


def section(title: str, targets: Sequence[Target], *, first: bool) -> list[str]:
    """One table in milliseconds; the first target is the one that the others are compared with."""
    direct = targets[0]
    names = ["", "p50", "p95", "p99", *(["first chunk p50"] if first else []), "added p50", "added p95", "added p99", "requests/s", "CPU"]
    lines = [f"## {title}", "", _row(*names, "failed"), _row(*["---"] * (len(names) + 1))]
    for target in targets:
        cells = [quantile(target.total_ms, each) for each in QUANTILES]
        added = [value - quantile(direct.total_ms, each) for value, each in zip(cells, QUANTILES, strict=True)]
        chunk = [statistics.median(target.first_ms)] if first else []
        cpu = target.cpu_ms if target.pid else ""
        lines.append(_row(target.name, *cells, *chunk, *(added if target is not direct else [""] * 3), target.rate, cpu, target.failures))
    return [*lines, ""]


def memory(sizes_mb: dict[str, float]) -> list[str]:
    """Resident memory after the runs."""
    lines = ["## Memory (MB, proportional set size, after the runs above)", "", _row("process", "MB"), _row("---", "---")]
    return [*lines, *(_row(name, f"{size:.0f}") for name, size in sizes_mb.items()), ""]


def goals(reached: Sequence[Goal]) -> list[str]:
    """Each target of the project, and whether this run reached it."""
    lines = ["## The targets", "", _row("target", "bound", "measured", "holds"), _row(*["---"] * 4)]
    return [*lines, *(_row(goal.what, goal.bound, goal.measured, "yes" if goal.holds else "**no**") for goal in reached), ""]


def _row(*cells: object) -> str:
    return "| " + " | ".join(f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "from source"
