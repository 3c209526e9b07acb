"""The pages and the plot of what `python -m bench.load` measured."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.gateway.load import quantile
from bench.gateway.processes import LITELLM
from bench.load.samples import Samples
from bench.load.traffic import SOAK_CALLERS, Load
from bench.stamp import machine, now

# of every text, whatever its length: stand-ins may be longer than values, and that is no delay of the gateway
CHUNKS = 36


def report(arguments: argparse.Namespace, loads: list[Load], load_average: float) -> list[str]:
    direct = loads[0]
    events = 1000 / arguments.chunk_ms * arguments.streams
    lines = [
        f"# {arguments.streams} streams at once",
        "",
        f"Made by `make bench-load`. One worker of each, before one stub that sends {CHUNKS} chunks a stream, one every "
        f"{arguments.chunk_ms:.0f} ms, so {events:.0f} events a second. The stub and the load client share "
        f"the machine. LLMOS ran {arguments.seconds:.0f} s, the others {arguments.peer_seconds:.0f} s.",
        "A stream counts as served if its whole text came back. LiteLLM masks nothing here; LLMOS scrubs and restores.",
        "Memory is the proportional set size with the detector, half-way and at the end; MB/min is its slope over the second half.",
        "",
        f"{now()}, {machine()}, {LITELLM}. Load average before the run: {load_average:.1f}.",
        "",
        "| | served | failed | p50 s | p99 s | added p50 ms | added p99 ms | first chunk added p99 ms | memory MB | MB/min | cores |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for each in loads:
        p50, p99 = quantile(each.total_ms, 0.5), quantile(each.total_ms, 0.99)
        added = [p50 - quantile(direct.total_ms, 0.5), p99 - quantile(direct.total_ms, 0.99)]
        first = quantile(each.first_ms, 0.99) - quantile(direct.first_ms, 0.99)
        held = each.samples
        cells = [each.name, len(each.total_ms), each.failed, f"{p50 / 1e3:.2f}", f"{p99 / 1e3:.2f}"]
        cells += [f"{value:.0f}" for value in (*added, first)] if each is not direct else ["", "", ""]
        if held:
            middle, last = held.memory_mb[len(held.memory_mb) // 2], held.memory_mb[-1]
            cells += [f"{middle:.0f}, {last:.0f}", f"{held.growth(held.memory_mb):+.1f}", f"{held.cpu_cores:.2f}"]
        else:
            cells += ["", "", ""]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    lines += ["", "Failures by kind: " + "; ".join(f"{each.name} {dict(each.outcomes)}" for each in loads) + ".", ""]
    return lines


def soak_report(load: Load, minutes: float, load_average: float) -> list[str]:
    held = load.samples
    assert held is not None
    rows = [("memory with the detector, MB", [round(each) for each in held.memory_mb]), ("open files and sockets", held.handles)]
    lines = [
        f"# {minutes:g} minutes of mixed traffic",
        "",
        f"Made by `make bench-load MINUTES={minutes:g}`. {SOAK_CALLERS} callers, hardly a pause between requests: streams, whole answers, "
        "known and new texts, wrong requests, callers that hang up. One worker. Growth is the slope over the second half.",
        "",
        f"{now()}, {machine()}. Load average before the run: {load_average:.1f}.",
        "",
        "| | at first | half-way | at most | at the end | growth a minute |",
        "|---|---|---|---|---|---|",
    ]
    for name, values in rows:
        shown = (values[0], values[len(values) // 2], max(values), values[-1], f"{held.growth(values):+.2f}")
        lines.append(f"| {name} | " + " | ".join(map(str, shown)) + " |")
    asked = sum(load.outcomes.values())
    lines += [
        "",
        f"{asked} requests, {load.failed} with another outcome than the right one: {dict(load.outcomes)}.",
        "",
        "![](soak.png)",
        "",
    ]
    return lines


def plot(samples: Samples, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 5), layout="constrained")
    minutes = [second / 60 for second in samples.seconds]
    above.plot(minutes, samples.memory_mb)
    above.set(ylabel="memory with the detector, MB", ylim=(0, None))
    below.plot(minutes, samples.handles)
    below.set(ylabel="open files and sockets", xlabel="minutes", ylim=(0, None))
    figure.savefig(path, dpi=110)
