"""docs/benchmarks/fl.md, from the figures of fl.json: a part that has not been measured has no section."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Results = Mapping[str, Any]
_STAGES = ("sample", "train", "evaluate", "publish", "refresh")
_EXCHANGES = ("begin", "share", "mask", "confirm", "unmask")


def page(results: Results) -> str:
    """The whole page as Markdown."""
    lines = ["# Federated training", "", "Made by `make bench-fl` (`python -m bench.fl`); the numbers are in `fl.json` beside this page."]
    for part, section in (("demo", _demo), ("serving", _serving), ("learning", _learning), ("privacy", _privacy), ("secure", _secure)):
        if part in results:
            lines += ["", *section(results[part]), *_taken(results, part)]
    return "\n".join(lines) + "\n"


def _taken(results: Results, part: str) -> list[str]:
    """Where and when the part was measured; parts of one page may be of several days."""
    taken = results.get("taken", {}).get(part)
    if taken is None:
        return ["", "Machine and date: not recorded."]
    load = f"load {taken['load_before']} before and {taken['load_after']} after"
    return ["", f"{taken['cores']} cores, {taken['system']}, Python {taken['python']}, {load}; {taken['when']}."]


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    head = list(head)
    return [_row(head), _row("---" for _ in head), *map(_row, rows)]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _demo(found: Results) -> list[str]:
    names = [name for name in found["baseline"] if name.startswith("perplexity")]
    domains = [name.partition(".")[2] or "all" for name in names]
    rows = [["before", *(f"{found['baseline'][name]:.1f}" for name in names), "", "", ""]]
    timed = []
    for entry in found["rounds"]:
        measures, stages, exchanges = entry["measures"], entry["stage_s"], entry["exchange_s"]
        verdict = "refused" if entry["version"] is None else f"published as r{entry['version']}"
        title = f"round {entry['round_number']}"
        epsilon = max(entry["epsilons"].values())
        rows.append([title, *(f"{measures[name]:,.1f}" for name in names), f"{epsilon:.2f}", str(entry["clients"]), verdict])
        cells = [*(stages.get(name) for name in _STAGES), *(exchanges.get(name) for name in _EXCHANGES)]
        timed.append([title, f"{sum(stages.values()):.0f}", *("" if cell is None else f"{cell:.1f}" for cell in cells)])
    refused = [f"- {reason}" for entry in found["rounds"] if entry["version"] is None for reason in entry["reasons"]]
    return [
        "## The demonstration",
        "",
        "`llmos federate demo`: three institutions, SmolLM2-135M, secure sum and DP-SGD on, real Flower processes with TLS, vLLM and a",
        "gateway on the same machine, an OpenAI client streaming all the time under one model name. In the last round one institution",
        "sends a false update.",
        "",
        "Perplexity of the held-out lines, and the largest epsilon that an institution has spent (data subject, delta 1e-5):",
        "",
        *_table(["", *domains, "epsilon", "clients", "outcome"], rows),
        "",
        "The gate refused the last round because:",
        "",
        *refused,
        "",
        "Seconds of each stage, and within training of each exchange with the institutions (the first holds their training):",
        "",
        *_table(["", "all", *_STAGES, *_EXCHANGES], timed),
        "",
        *_table(["step", "seconds"], ([step, f"{seconds:.1f}"] for step, seconds in found["seconds"].items())),
        "",
        f"“{found['question']}”, asked under the same name:",
        "",
        *_table(["served", "answer"], ([served, " ".join(answer.split())] for served, answer in found["answers"])),
        "",
        f"Streamed requests: {found['streamed']}; failed: {len(found['failures'])}. By the gateway's own count "
        + ", ".join(f"{name} answered {seen['requests']} ({seen['failed']} failed)" for name, seen in sorted(found["traffic"].items()))
        + f". At the end the way back was taken: {found['rolled_back_to']} is served.",
    ]


def _serving(found: Results) -> list[str]:
    rows = ([name, f"{found[f'{name}_s_median']:.2f}", f"{found[f'{name}_s_max']:.2f}"] for name in ("published", "canary", "promoted"))
    return [
        "## Swaps under load",
        "",
        f"{found['swaps']} versions one after another, {found['streams']} clients streaming through the gateway: {found['requests']}",
        f"requests, {found['failures']} failed as the callers saw, {found['failures_by_gateway']} as the gateway counted;",
        f"{found['versions_that_answered']} versions answered.",
        "Canary: callers reach the new version; promoted: all of them do, after the probes.",
        "",
        *_table(["from the beginning of publishing to", "median, s", "most, s"], rows),
    ]


def _learning(found: Results) -> list[str]:
    rows = (
        [name, f"{task['target']:.0%}", task["fedsgd_rounds"], task["fedavg_rounds"], f"{task['ratio']:.1f}"]
        for name, task in found.items()
    )
    return [
        "## Rounds to the target accuracy",
        "",
        "Median of three seeds, the best of three rates each; FedAvg is E = 5, B = 10, half of the clients a round. McMahan et al. 2017",
        "(table 2) report 10 to 100 times fewer rounds on larger tasks; by class shards on the digits the gain is far smaller.",
        "",
        *_table(["task", "target", "FedSGD", "FedAvg", "ratio"], rows),
        "",
        "![accuracy by round](fl-learning.png)",
    ]


def _privacy(found: Results) -> list[str]:
    rows = [
        ["data subject, 10 clients", "no noise" if name == "None" else f"{float(name):.2f}", f"{value:.3f}"]
        for name, value in found["subject"].items()
    ]
    for row in found["client"]:
        clip = "adaptive" if row["adaptive"] else "fixed"
        rows.append([f"client, 150 clients, {clip} clip", f"{row['epsilon']:.2f}", f"{row['accuracy']:.3f}"])
    return [
        "## Utility against epsilon",
        "",
        "Accuracy on the digits, mean of three seeds, delta 1e-5.",
        "",
        *_table(["unit", "epsilon", "accuracy"], rows),
        "",
        "![accuracy by epsilon](fl-privacy.png)",
    ]


def _secure(found: list[Results]) -> list[str]:
    rows = []
    for cost in found:
        shape = [str(cost["clients"]), str(cost["neighbours"]), f"{cost['length']:,}", f"{cost['dropped']:.0%}"]
        bytes_ = [f"{cost['sent'] / cost['plain_bytes']:.2f}", f"{cost['received']:,}"]
        rows.append([*shape, f"{cost['seconds']:.1f}", f"{cost['client_ms']:.0f}", *bytes_, f"{cost['plain_seconds'] * 1e3:.2f}"])
    head = ["clients", "degree", "coordinates", "dropped", "all, s", "a client, ms", "sent / plain", "received, bytes", "plain sum, ms"]
    return [
        "## The secure sum",
        "",
        "All clients and the server in one process. “Sent” is beside the bytes of the bare vector, “received” without the model.",
        "",
        *_table(head, rows),
    ]
