"""`make bench-fl`: federated learning, its secure sum, its privacy and its way into service, each beside a baseline.

    python -m bench.fl [--out docs/benchmarks] [--only learning,secure,privacy,serving,demo] [--vllm-url URL]

Writes fl.json, fl.md and fl-*.png into --out. `serving` and `demo` start a vLLM, or use the one that --vllm-url names.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.stamp import now, stamped

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

from rich.console import Console  # noqa: E402
from rich.progress import track  # noqa: E402
from rich.table import Table  # noqa: E402

from bench.fl.page import page  # noqa: E402
from bench.survival import model_server  # noqa: E402

console = Console()
SEEDS = (0, 1, 2)


def learning(cache: Path, out: Path) -> dict[str, Any]:
    """Rounds to target, FedSGD against FedAvg (E = 5, B = 10), the best of three rates each."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from bench.fl.learning import Recipe, curve
    from bench.fl.tasks import Task, digits, shakespeare

    def tasks(seed: int) -> list[tuple[Task, int, float]]:
        found = [(digits(20, seed, iid=iid), 1000, 0.5) for iid in (True, False)]
        return found + [(shakespeare(12, seed, cache, iid=iid), 300, 0.5) for iid in (True, False)]

    rows: dict[str, dict[str, Any]] = {}
    figure, axes = pyplot.subplots(1, 4, figsize=(16, 3.6))
    table = Table("task", "target", "FedSGD rounds", "FedAvg rounds", "ratio", title=f"Rounds to target, median of {len(SEEDS)} seeds")
    names = [task.name for task, _, _ in tasks(SEEDS[0])]
    for index, name in enumerate(track(names, "learning")):
        best: dict[str, list[int]] = {}
        for family, epochs, batch, rates in (("FedSGD", 1, None, (0.3, 1.0, 2.0)), ("FedAvg", 5, 10, (0.03, 0.1, 0.3))):
            by_rate = {}
            for rate in rates:
                curves = [
                    curve(task, Recipe(family, epochs, batch, rate), rounds, fraction, seed)
                    for seed in SEEDS
                    for task, rounds, fraction in [tasks(seed)[index]]
                ]
                target = tasks(SEEDS[0])[index][0].target_accuracy
                by_rate[rate] = (statistics.median(len(c) if c[-1] >= target else 10**6 for c in curves), curves)
            rounds_needed, curves = min(by_rate.values(), key=lambda found: found[0])
            best[family] = [rounds_needed]
            axes[index].plot(range(1, len(curves[0]) + 1), curves[0], label=family)
        task, limit, _ = tasks(SEEDS[0])[index]
        axes[index].axhline(task.target_accuracy, color="grey", linewidth=0.6)
        axes[index].set(xscale="log", title=name, xlabel="round")
        axes[index].legend()
        sgd, avg = best["FedSGD"][0], best["FedAvg"][0]
        shown = [f"over {limit}" if needed >= 10**6 else f"{needed:.0f}" for needed in (sgd, avg)]
        ratio = min(sgd, limit) / avg
        table.add_row(name, f"{task.target_accuracy:.0%}", *shown, f"{'over ' if sgd >= 10**6 else ''}{ratio:.1f}")
        rows[name] = {"target": task.target_accuracy, "fedsgd_rounds": shown[0], "fedavg_rounds": shown[1], "ratio": round(ratio, 2)}
    figure.tight_layout()
    figure.savefig(out / "fl-learning.png", dpi=110)
    console.print(table)
    return rows


def secure() -> list[dict[str, Any]]:
    """Bytes and seconds of a secure sum beside the plain sum of the same vectors."""
    from bench.fl.secure import measure

    table = Table("clients", "degree", "coordinates", "dropped", "all, s", "a client, ms", "sent / plain", "received", "plain sum, s")
    rows = []
    for clients, neighbours, length, dropped in (
        (10, None, 10_000, 0.0), (10, None, 184_320, 0.0), (10, None, 184_320, 0.2), (100, None, 10_000, 0.0), (100, None, 184_320, 0.0),
        (100, None, 10_000, 0.2), (500, 60, 10_000, 0.0), (500, 60, 184_320, 0.0), (500, 60, 10_000, 0.1),
    ):  # fmt: skip
        cost = measure(clients, length, neighbours, dropped)
        rows.append({**cost.__dict__, "dropped": dropped})
        table.add_row(
            str(clients), str(cost.neighbours), f"{length:,}", f"{dropped:.0%}", f"{cost.seconds:.2f}", f"{cost.client_ms:.1f}",
            f"{cost.sent / cost.plain_bytes:.2f}", f"{cost.received:,} B", f"{cost.plain_seconds:.4f}",
        )  # fmt: skip
    console.print(table)
    return rows


def privacy(out: Path) -> dict[str, Any]:
    """Accuracy on digits against epsilon, for both units."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from bench.fl.privacy import client_level, subject_level

    subject = {str(e): statistics.mean(subject_level(e, seed) for seed in SEEDS) for e in (0.5, 1.0, 2.0, 4.0, 8.0, None)}
    client = []
    for noise in (0.5, 1.0, 2.0, 4.0):
        for adaptive in (False, True):
            found, epsilon = zip(*(client_level(noise, seed, adaptive=adaptive) for seed in SEEDS), strict=True)
            client.append({"noise": noise, "adaptive": adaptive, "epsilon": statistics.mean(epsilon), "accuracy": statistics.mean(found)})
    table = Table("unit", "epsilon", "accuracy", title="Utility on digits, delta 1e-5, mean of three seeds")
    for name, value in subject.items():
        table.add_row("data subject, 10 clients", "no noise" if name == "None" else name, f"{value:.3f}")
    for row in client:
        unit = f"client, 150 clients, {'adaptive' if row['adaptive'] else 'fixed'} clip"
        table.add_row(unit, f"{row['epsilon']:.2f}", f"{row['accuracy']:.3f}")
    console.print(table)
    figure, axis = pyplot.subplots(figsize=(5, 3.6))
    axis.plot(
        [float(e) for e in subject if e != "None"], [v for e, v in subject.items() if e != "None"], "o-", label="data subject, 10 clients"
    )
    for adaptive in (False, True):
        points = [(r["epsilon"], r["accuracy"]) for r in client if r["adaptive"] is adaptive]
        axis.plot(*zip(*points, strict=True), "s-", label=f"client, 150 clients, {'adaptive' if adaptive else 'fixed'} clip")
    axis.axhline(subject["None"], color="grey", linewidth=0.6)
    axis.set(xscale="log", xlabel="epsilon at delta 1e-5", ylabel="accuracy")
    axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(out / "fl-privacy.png", dpi=110)
    return {"subject": subject, "client": client}


def serving(base_model: Path, url: str, base_name: str) -> dict[str, Any]:
    """Seconds from 'round done' to 'served', and requests failed during 20 swaps under load, through a gateway."""
    from bench.fl.serving import STREAMS, measure

    swaps = measure(base_model, url, 20, base_name, f"bench-{os.getpid()}")
    found: dict[str, Any] = {
        "swaps": len(swaps.canary_s),
        "streams": STREAMS,
        "requests": swaps.requests,
        "failures": len(swaps.failures),
        "failures_by_gateway": sum(seen.failed for seen in swaps.traffic.values()),
        "versions_that_answered": len(swaps.traffic),
    }
    table = Table(
        "from the beginning of publishing to", "median, s", "most, s", title=f"{found['swaps']} swaps, {found['requests']} requests"
    )
    for name, seconds in (("published", swaps.published_s), ("canary", swaps.canary_s), ("promoted", swaps.promoted_s)):
        found[f"{name}_s_median"], found[f"{name}_s_max"] = round(statistics.median(seconds), 3), round(max(seconds), 3)
        table.add_row(name, f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}")
    console.print(table)
    console.print(f"failed requests: {found['failures']} as the callers saw, {found['failures_by_gateway']} as the gateway counted")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument("--cache", type=Path, default=Path(".llmos/bench"))
    parser.add_argument("--only", default="learning,secure,privacy,serving,demo")
    parser.add_argument("--vllm-url", help="a running vLLM with runtime LoRA loading (default: one is started)")
    parser.add_argument("--base-model", type=Path, default=Path(".llmos/models/smollm2"))
    parser.add_argument("--base-name", default="smollm2")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was loaded and started is cleaned up, as on Ctrl-C
    chosen.out.mkdir(parents=True, exist_ok=True)
    chosen.cache.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        url = chosen.vllm_url
        for part in chosen.only.split(","):
            load_before = _load()
            if part in ("serving", "demo") and url is None:
                scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llmos-bench-")))
                url = stack.enter_context(model_server(None, scratch))
            _keep(chosen.out, part, run_part(part, chosen, url), load_before)


def run_part(part: str, chosen: argparse.Namespace, url: str | None) -> Any:
    if part == "learning":
        return learning(chosen.cache, chosen.out)
    if part == "secure":
        return secure()
    if part == "privacy":
        return privacy(chosen.out)
    assert url is not None
    if part == "serving":
        return serving(chosen.base_model, url, chosen.base_name)
    from bench.fl import demo

    return demo.measure(chosen.base_model, url, chosen.base_name)


def _load() -> float:
    return round(os.getloadavg()[0], 1)


def _keep(out: Path, part: str, found: Any, load_before: float) -> None:
    """Beside the parts that were measured before, with the machine that gave it; then the page anew."""
    report = out / "fl.json"
    results: dict[str, Any] = json.loads(report.read_text()) if report.exists() else {}
    load = {"load_before": load_before, "load_after": _load()}
    here = {"cores": os.cpu_count(), "system": f"{platform.system()} {platform.release()}", "python": platform.python_version()}
    taken = {**results.get("taken", {}), part: {**here, **load, "when": now()}}
    results = {**results, part: found, "taken": taken}
    report.write_text(json.dumps(stamped(results), indent=1) + "\n")
    (out / "fl.md").write_text(page(results))
    console.print(f"written to {report}")


if __name__ == "__main__":
    main()
