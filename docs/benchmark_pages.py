"""Writes the pages that gather figures from several reports: `python docs/benchmark_pages.py`, or `make docs`.

docs/benchmarks/README.md lists every report with its machine and date, docs/overhead.md what each protection costs. No figure is typed by
hand: a test compares both pages with what this writes. What a report does not record is shown as not recorded.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))
import readme_figures  # noqa: E402

REPORTS = DOCS / "benchmarks"
NOT_RECORDED = "not recorded"
# A report's page and its numbers, in the order of `make bench`; several files may come of one command.
COMMANDS = {
    "make bench-pii": ("pii",),
    "make bench-gateway": ("gateway",),
    "make bench-survival": ("survival",),
    "make bench-dp": ("dp-accuracy", "dp-fluency", "dp-ledger", "dp-sampler", "dp-speed", "dp-crosstalk"),
    "make bench-mpc": ("mpc", "mpc-online", "mpc-peers", "mpc-delays", "mpc-context", "mpc-fidelity"),
    "make bench-fl": ("fl", "fl-learning", "fl-privacy"),
    "make bench-audit": ("audit",),
    "make bench-overhead": ("overhead",),
    "make bench-load": ("load",),
    "make bench-load MINUTES=30": ("soak",),
    "make coverage": ("coverage",),
}
_DATE = re.compile(r"20\d\d-\d\d-\d\d(?: \d\d:\d\d UTC)?")


def numbers(name: str) -> Any:
    """The JSON of one report, or None where it was never made."""
    path = REPORTS / f"{name}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def provenance(name: str) -> tuple[str, str]:
    """(machine and versions, date) as the report's page or its numbers give them."""
    page, found = REPORTS / f"{name}.md", numbers(name)
    line = ""
    if page.exists():
        prose = [each for each in page.read_text("utf-8").splitlines() if not each.startswith("|")]
        line = next((each for each in prose if re.search(r"\b\d+ cores\b", each)), "")
    machine = found.get("machine", "") if isinstance(found, dict) else ""
    if isinstance(machine, dict):
        machine = ", ".join(f"{key} {value}" for key, value in machine.items())
    date = _DATE.search(line) or _DATE.search(str(found.get("when", "")) if isinstance(found, dict) else "")
    said = _DATE.sub("", line).strip(" ,.-()") or machine
    return said or NOT_RECORDED, date.group() if date else NOT_RECORDED


def index() -> str:
    lines = [
        "# Benchmarks",
        "",
        "Written by `make docs` from the reports beside it; `make bench` makes them all again and ends with that. Each report was made on",
        "the machine and date that it names: compare figures of one report, not of two.",
        "",
        readme_figures.table("README.md").removeprefix("<!-- figures -->\n").removesuffix("\n<!-- /figures -->").rstrip(),
        "",
        "## Reports",
        "",
        "| report | command | machine and versions | date |",
        "|---|---|---|---|",
    ]
    for command, names in COMMANDS.items():
        for name in names:
            files = [f"{name}.{kind}" for kind in ("md", "json", "png", "svg") if (REPORTS / f"{name}.{kind}").exists()]
            if name == "overhead" and files:
                files.insert(0, "../overhead.md")
            if files:
                machine, date = provenance(name)
                links = ", ".join(f"[{Path(file).name}]({file})" for file in files)
                lines.append(f"| {links} | `{command}` | {machine} | {date} |")
            else:
                lines.append(f"| {Path(name).name}: not made yet | `{command}` | | |")
    return "\n".join(lines) + "\n"


def overhead() -> str:
    """What each protection costs: the gateway's own measurement, then what other reports say of MPC, rounds and private sampling."""
    report = numbers("overhead")
    base = report["paths"][1]["ms"]
    lines = [
        "# What each protection costs",
        "",
        "Made by `make bench-overhead`: one request at a time, 130 characters with a name, an address, a number and a card. The stub",
        "answers in next to no time, so the differences are the protections'. CPU is that of the gateway, its detector and its store.",
        "",
        f"{report['when']}, {report['machine']}, {report['requests']} requests a row, load average {report['load']:.1f} (2 is full). "
        f"A worker with its detector: {report['memory_mb']:.0f} MB.",
        "",
        "| path | median ms | over the unprotected gateway | CPU ms | store commands | bytes in the append-only file |",
        "|---|---|---|---|---|---|",
    ]
    for way in report["paths"]:
        costs = [""] * 4
        if way["cpu_ms"] is not None:
            costs = [f"{way['ms'] - base:+.1f} ms", f"{way['cpu_ms']:.1f}", f"{way['commands']:.0f}", f"{way['written']:.0f}"]
        lines.append(f"| {way['name']} | {way['ms']:.1f} | {' | '.join(costs)} |")
    lines += ["", "Commands inside scripts count."]
    for title, part in (
        ("Private sampling in the model server", _sampling),
        ("Secret-shared inference", _mpc),
        ("Federated rounds", _rounds),
    ):
        lines += ["", f"## {title}", "", *part()]
    return "\n".join(lines) + "\n"


def _sampling() -> list[str]:
    speed = numbers("dp-speed")
    rows = [
        f"| {name} | {each['plain_tokens_per_s']:.1f} | {each['private_tokens_per_s']:.1f} "
        f"| {each['ratio']:.3f} [{each['ratio_95'][0]:.3f}, {each['ratio_95'][1]:.3f}] |"
        for name, each in speed["results"].items()
    ]
    return [
        "SmolLM2 in vLLM, tokens a second, with the processor and without, in pairs (`make bench-dp`).",
        "",
        "| mechanism | without | with | ratio, 95 % |",
        "|---|---|---|---|",
        *rows,
    ]


def _mpc() -> list[str]:
    report = numbers("mpc-online")
    rows = [
        f"| {row['mode']} | {row['token_s']:.2f} | {row['prefill_32_s']:.2f} | {row['rounds_per_token']:.0f} "
        f"| {row['online_mb_per_token']:.1f} |"
        for row in report["rows"]
        if not row["delay_ms"]
    ]
    return [
        f"SmolLM2 on shares, {report['rows'][0]['context']} tokens of context, all processes on one machine: {report['machine']}, "
        f"{report['when']}. The same model in the clear is the first column above (`make bench-mpc`; [mpc.md](benchmarks/mpc.md)).",
        "",
        "| weights | s a token | s for 32 tokens of prompt | rounds a token | MB a token |",
        "|---|---|---|---|---|",
        *rows,
    ]


def _rounds() -> list[str]:
    rows = [
        f"| {row['clients']} | {row['length']:,} | {row['plain_seconds'] * 1e3:.2f} ms | {row['seconds']:.1f} s "
        f"| {row['client_ms']:.0f} ms | {row['sent'] / row['plain_bytes']:.2f} |"
        for row in numbers("fl")["secure"]
        if not row["dropped"]
    ]
    return [
        "The secure sum of one round beside a plain sum of the same updates, all institutions on one machine, one after the other",
        "(`make bench-fl`; [fl.md](benchmarks/fl.md)).",
        "",
        "| institutions | parameters | plain sum | secure sum, all parties | of it a client | bytes sent, times the update |",
        "|---|---|---|---|---|---|",
        *rows,
    ]


NEW_SHARE = 2 / 3  # of the requests bring a new text, where one knows nothing
PLANNED_USE = 0.6  # of a core
POD_CORES = 4
SITES = (  # requests a second, where, what the store is, what saturates first
    (500, "a department", "one Redis of 2 cores", "detection's CPU"),
    (
        5_000,
        "a large site",
        "more than one Redis process is likely to serve in scripts; shard by tenant over several releases of the chart",
        "the store's one core",
    ),
    (
        50_000,
        "internet scale",
        "ten or more stores, one a set of tenants",
        "the audit: one chain a tenant is one writer at a time a tenant",
    ),
)


def sizing() -> str:
    """The page as it is, its tables worked out anew."""
    report = numbers("overhead")
    known, new = report["paths"][2], report["paths"][3]

    def mixed(name: str) -> float:
        return float(NEW_SHARE * new[name] + (1 - NEW_SHARE) * known[name])

    a_core = PLANNED_USE * 1e3 / mixed("cpu_ms")
    lines = [
        "| of one request | a text seen before | a new text |",
        "|---|---|---|",
        f"| CPU: gateway, detector, store | {known['cpu_ms']:.1f} ms | {new['cpu_ms']:.1f} ms |",
        f"| so requests a second and core, at full use | {1e3 / known['cpu_ms']:.0f} | {1e3 / new['cpu_ms']:.0f} |",
        f"| store commands | {known['commands']:.0f} | {new['commands']:.0f} |",
        f"| bytes in the append-only file before it is rewritten | {known['written']:,.0f} | {new['written']:,.0f} |",
        "",
        "A chat repeats its history with every turn; only the new message is a new text. Count two thirds of the requests as new where",
        f"you know nothing. Plan for {PLANNED_USE:.0%} use of a core, so {a_core:.0f} requests a second and core. Memory: "
        f"{report['memory_mb']:.0f} MB a worker with one detector, about 300 MB for each further one.",
        "",
        "| deployment | requests a second | gateway | store | saturates first |",
        "|---|---|---|---|---|",
        f"| one machine, {POD_CORES} cores, two of them for the model server | {2 * a_core:.0f} | 2 workers, 1 detector each "
        "| the embedded Valkey | detection's CPU |",
    ]
    for rate, where, store, first in SITES:
        pods = math.ceil(rate / a_core / POD_CORES)
        lines.append(
            f"| {where} | {rate:,} | {pods} pods of {POD_CORES} cores | {store}; {rate * mixed('commands'):,.0f} commands a second, "
            f"{rate * mixed('written') * 3600 / 1e9:,.0f} GB an hour of log before rewriting | {first} |"
        )
    page = (DOCS / "sizing.md").read_text("utf-8")
    return readme_figures.MARKED.sub("<!-- figures -->\n" + "\n".join(lines) + "\n<!-- /figures -->", page)


PAGES: dict[str, Callable[[], str]] = {"benchmarks/README.md": index, "overhead.md": overhead, "sizing.md": sizing}


def main() -> None:
    for name, write in PAGES.items():
        (DOCS / name).write_text(write(), "utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
