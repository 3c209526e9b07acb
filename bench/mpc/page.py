"""docs/benchmarks/mpc.md and mpc-context.svg, written from the parts' figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

TARGETS = {  # from the project's plan: reach, beyond
    ("public", "token_s"): (0.5, 0.25),
    ("owner", "token_s"): (0.6, 0.35),
    ("shared", "token_s"): (1.0, 0.6),
    ("public", "prefill_32_s"): (3.0, 1.5),
}
ONLINE = {
    "token_s": "s/token",
    "prefill_32_s": "s/32 prefill tokens",
    "rounds_per_token": "rounds/token",
    "online_mb_per_token": "MB/token",
    "start_s": "start-up s",
    "peak_rss_mb_dealer": "dealer MB",
    "peak_rss_mb_party0": "party 0 MB",
    "peak_rss_mb_party1": "party 1 MB",
}
OFFLINE = {
    "dealer_s": "dealer CPU s",
    "ahead_s_party0": "ahead CPU s, party 0",
    "ahead_s_party1": "ahead CPU s, party 1",
    "online_s_party0": "online CPU s, party 0",
    "online_s_party1": "online CPU s, party 1",
    "online_mb": "online MB",
    "offline_mb_party0": "offline MB, party 0",
    "offline_mb_party1": "offline MB, party 1",
}


def _table(rows: list[dict[str, Any]], first: tuple[str, ...], columns: dict[str, str]) -> list[str]:
    lines = ["| " + " | ".join((*first, *columns.values())) + " |", "|" + "---|" * (len(first) + len(columns))]
    for row in rows:
        values = [f"{row[c]:.3g}" if isinstance(row.get(c), float | int) else "" for c in columns]
        lines.append("| " + " | ".join([*(str(row[name]) for name in first), *values]) + " |")
    return [*lines, ""]


def write(folder: Path) -> None:
    """Write the page from whichever parts are there."""
    have = {p.stem.removeprefix("mpc-"): json.loads(p.read_text()) for p in sorted(folder.glob("mpc-*.json"))}
    lines = [
        "# MPC inference: figures",
        "",
        "Written by `python -m bench.mpc`. SmolLM2-135M; a client, a dealer and two parties as processes of one machine.",
        "What the dealer and the parties do ahead is done before the clock of the online figures starts; it stands under cost.",
        "",
    ]
    for part in have.values():
        lines.append(f"- {part['part']}: {part['machine']}, {part['when']}")
    lines.append("")
    if "online" in have:
        lines += [
            "## Online, 64 tokens of context, loopback",
            "",
            "Memory is the most that a process held while it answered one question, with the default",
            "stock of randomness; the other columns come of a run whose randomness all lay ready.",
            "",
        ]
        lines += [*_table(have["online"]["rows"], ("mode",), ONLINE)]
        lines += ["| figure | measured | reach | beyond |", "|---|---|---|---|"]
        for row in have["online"]["rows"]:
            for (mode, name), (reach, beyond) in TARGETS.items():
                if row["mode"] == mode:
                    lines.append(f"| {mode}, {ONLINE[name]} | {row[name]:.3g} | {reach} | {beyond} |")
        lines.append("")
    if "peers" in have:
        lines += ["## Beside CrypTen 0.4.1, the same run", "", *_peers(have["peers"]["rows"])]
    if "delays" in have:
        lines += [
            "## With link delay, 1 Gbit/s",
            "",
            "A delaying transport: every exchange of the parties waits for the delay and for its bytes at 1 Gbit/s.",
            "",
            *_table(have["delays"]["rows"], ("mode", "delay_ms"), {k: ONLINE[k] for k in list(ONLINE)[:4]}),
        ]
    if "context" in have:
        lines += ["## Cost against context length", "", "![cost against context](mpc-context.svg)", ""]
        lines += _table(have["context"]["rows"], ("mode", "context"), OFFLINE)
        _plot(have["context"]["rows"], folder / "mpc-context.svg")
    if "fidelity" in have:
        names = ("agreement", "perplexity", "perplexity_float", "worst_logit", "widest_mismatch_gap")
        lines += ["## Fidelity, teacher-forced, against float32", ""]
        shown = [{k: f"{v:.5g}" if k in names else v for k, v in row.items()} for row in have["fidelity"]["rows"]]
        lines += _table(shown, ("mode", "tokens", *names), {})
    (folder / "mpc.md").write_text("\n".join(lines))


def _peers(rows: list[dict[str, Any]]) -> list[str]:
    lines = []
    for row in rows:
        lines.append("- " + ", ".join(f"{k.replace('_', ' ')} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
    return [*lines, ""]


def _plot(rows: list[dict[str, Any]], path: Path) -> None:
    pyplot.rcParams["svg.hashsalt"] = "mpc"
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 4.2))
    contexts = sorted({row["context"] for row in rows})
    for number, mode in enumerate(dict.fromkeys(row["mode"] for row in rows)):
        mine, colour = [row for row in rows if row["mode"] == mode], f"C{number}"
        x, width = [row["context"] for row in mine], 3.5 - 1.2 * number  # where modes coincide, the wider line shows behind
        online = [max(row["online_s_party0"], row["online_s_party1"]) for row in mine]
        curves = (
            (0, online, "-", "a party online"),
            (0, [row["dealer_s"] for row in mine], ":", "dealer"),
            (1, [row["online_mb"] for row in mine], "-", "online"),
            (1, [row["offline_mb_party1"] for row in mine], ":", "offline, party 1"),
        )
        for axis, y, style, what in curves:
            axes[axis].plot(x, y, style, color=colour, linewidth=width, label=f"{mode}: {what}")
    for axis, label, ticks in (
        (axes[0], "CPU seconds a token", (0.05, 0.1, 0.2, 0.4, 0.8)),
        (axes[1], "MB a token", (3, 10, 30, 100, 300)),
    ):
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks(contexts, map(str, contexts))
        axis.set_yticks(ticks, map(str, ticks))
        axis.minorticks_off()
        axis.set_xlabel("context, tokens")
        axis.set_ylabel(label)
        axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
