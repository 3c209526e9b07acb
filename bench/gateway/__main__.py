"""What the gateway adds: milliseconds, requests a second and memory, beside LiteLLM Proxy on the same stub in the same run.

    python -m bench.gateway [--requests 300] [--quick]

One stub upstream, LLMOS, LiteLLM Proxy (alone and with Presidio) run on loopback. Writes docs/benchmarks/gateway.md and
gateway.json. LiteLLM's environment `.venv-litellm` is made on the first run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import statistics
import sys
import tempfile
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from bench.gateway import report, scan
from bench.gateway.load import Target, measure, presidio_ms, quantile
from bench.gateway.processes import PEERS, ROOT, litellm_command, memory_mb, process
from bench.gateway.report import Goal
from bench.stamp import stamped
from gateway.serving.valkey import EmbeddedValkey
from gateway.stores.policies import ValkeyPolicies

PAGE = ROOT / "docs" / "benchmarks" / "gateway.md"
FIGURES = PAGE.with_suffix(".json")
STUB, LLMOS, PROXY, PRESIDIO = (f"http://127.0.0.1:{port}" for port in (8843, 8844, 8845, 8846))
KEY = "sk-llmos-bench-0000"
OFF = "id: detection-off\nmatch: {models: [stub-off]}\nentities: {}\nresponse: {scan: 'off'}\n"
QUICK_REQUESTS = 60


@dataclass
class Figures:
    """What the goals are judged by, section by section: a copy of each target's numbers."""

    page: list[str] = field(default_factory=list)
    p50: dict[str, dict[str, float]] = field(default_factory=dict)
    first: dict[str, dict[str, float]] = field(default_factory=dict)
    rate: dict[str, dict[str, float]] = field(default_factory=dict)
    cpu: dict[str, dict[str, float]] = field(default_factory=dict)
    memory_mb: dict[str, float] = field(default_factory=dict)
    presidio_ms: float = float("nan")  # its own analysis of a new text, the median
    scrubbing_ms: float = float("nan")  # ours of a new text, the mean

    def keep(self, name: str, title: str, targets: list[Target], *, stream: bool) -> None:
        self.page += report.section(title, targets, first=stream)
        self.p50[name] = {each.name: quantile(each.total_ms, 0.5) for each in targets}
        self.first[name] = {each.name: statistics.median(each.first_ms) for each in targets}
        self.rate[name] = {each.name: each.rate for each in targets}
        self.cpu[name] = {each.name: each.cpu_ms for each in targets if each.pid}

    def added(self, section: str, name: str) -> float:
        return self.p50[section][name] - self.p50[section]["direct"]


async def run(requests: int, pids: dict[str, int]) -> Figures:
    """Every section in turn."""
    everyone = [
        Target("direct", f"{STUB}/v1", "none", {}),
        Target("LLMOS, detection off", f"{LLMOS}/v1", KEY, {"model": "stub-off"}, pids["LLMOS"]),
        Target("LLMOS", f"{LLMOS}/v1", KEY, {}, pids["LLMOS"]),
        Target("LiteLLM", f"{PROXY}/v1", "sk-peer-0000", {}, pids["LiteLLM"]),
        Target("LiteLLM + Presidio", f"{PROXY}/v1", "sk-peer-0000", {"guardrails": ["presidio"]}, pids["LiteLLM"]),
    ]
    figures = Figures()

    async def section(name: str, title: str, count: int, *, concurrency: int = 1, stream: bool = False, new_text: bool = False) -> None:
        print(f"  {title} …", flush=True)
        await measure(everyone, count, concurrency=concurrency, stream=stream, new_text=new_text)
        figures.keep(name, title, everyone, stream=stream)

    await section("same", "The same text again, one request at a time (ms)", requests)
    before = await presidio_ms(PRESIDIO, requests // 10)
    await section("new", "New text each time, one request at a time (ms)", requests // 2, new_text=True)
    figures.presidio_ms = statistics.median(before + await presidio_ms(PRESIDIO, requests // 10))
    await section("stream", "A stream of the same text, one at a time (ms)", requests // 2, stream=True)
    detecting = _scrub_seconds()
    await section("stream-new", "A stream of new text, one at a time (ms)", requests // 3, stream=True, new_text=True)
    figures.scrubbing_ms = _mean_ms(detecting, _scrub_seconds())
    await section("many", "The same text, 32 requests at once (ms)", requests * 3, concurrency=32)
    figures.page += await scan.section()
    figures.memory_mb = {name: memory_mb(pid) for name, pid in pids.items()}
    figures.page += report.memory(figures.memory_mb)
    figures.page += report.goals(_goals(figures))
    return figures


def _goals(figures: Figures) -> list[Goal]:
    analysis_ms, scrubbing_ms, memory_of_llmos_mb = figures.presidio_ms, figures.scrubbing_ms, figures.memory_mb["LLMOS"]
    off, cached = (figures.added("same", name) for name in ("LLMOS, detection off", "LLMOS"))
    new = figures.added("new", "LLMOS")
    first = figures.first["stream-new"]["LLMOS"] - figures.first["stream-new"]["direct"]
    times = figures.rate["many"]["LLMOS"] / figures.rate["many"]["LiteLLM"]
    a_core = 1000 / figures.cpu["many"]["LLMOS"]
    return [
        Goal("added p50, detection off", "≤ 5 ms", f"{off:.1f} ms", off <= 5),
        Goal("added p50, detection cached", "≤ 5 ms", f"{cached:.1f} ms", cached <= 5),
        Goal(
            f"added p50 on new text; Presidio's own analysis takes {analysis_ms:.1f} ms",
            f"≤ {analysis_ms + 5:.1f} ms",
            f"{new:.1f} ms",
            new <= analysis_ms + 5,
        ),
        Goal(
            f"first chunk of a stream of new text later by; scrubbing took {scrubbing_ms:.1f} ms (mean)",
            f"≤ {scrubbing_ms + 5:.1f} ms",
            f"{first:.1f} ms",
            first <= scrubbing_ms + 5,
        ),
        Goal("requests a second, 32 at once, as a multiple of LiteLLM's (without Presidio)", "≥ 5", f"{times:.1f}", times >= 5),
        Goal("requests a second and core (1 s over the CPU time of a request)", "towards 500", f"{a_core:.0f}", a_core >= 500),
        Goal("memory of a worker with its detector", "< 600 MB", f"{memory_of_llmos_mb:.0f} MB", memory_of_llmos_mb < 600),
    ]


def _scrub_seconds() -> tuple[float, float]:
    """Seconds spent in the stage `scrub` by the gateway so far, and how often."""
    text = urllib.request.urlopen(f"{LLMOS}/metrics", timeout=10).read().decode()
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("stage") == "scrub" and "le" not in sample.labels
    }
    return samples["llmos_stage_seconds_sum"], samples["llmos_stage_seconds_count"]


def _mean_ms(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Over both of the section's LLMOS targets, halved: the one with detection off scrubs in next to no time."""
    return 2e3 * (after[0] - before[0]) / (after[1] - before[1])


async def apply_policies(url: str) -> None:
    """The default policy, and one that detects nothing for the model `stub-off`."""
    async with Redis.from_url(url) as redis, ValkeyPolicies(redis) as policies:
        await policies.seed("default")
        await policies.apply(OFF, author="bench", reason="the path without detection")


def _with_everything(requests: int, folder: Path) -> Figures:
    python = sys.executable
    with contextlib.ExitStack() as stack:

        def start(name: str, argv: list[str], url: str, environment: dict[str, str] | None = None) -> int:
            return stack.enter_context(process(argv, url, folder / f"{name}.log", environment or {}))

        valkey = stack.enter_context(EmbeddedValkey(folder / "data"))
        asyncio.run(apply_policies(valkey.url))
        print("  starting the stub, Presidio, LLMOS and LiteLLM …", flush=True)
        start("stub", [python, str(PEERS / "stub_upstream.py"), "--port", _port(STUB)], f"{STUB}/v1/models")
        presidio = start("presidio", [python, str(PEERS / "presidio_http.py"), "--port", _port(PRESIDIO)], f"{PRESIDIO}/openapi.json")
        settings = {
            "PYTHONPATH": str(ROOT),
            "LLMOS_DATA_DIR": str(folder / "data"),
            "LLMOS_REDIS_URL": valkey.url,
            "LLMOS_DEV_KEY": KEY,
            "LLMOS_DETECTOR_WORKERS": "1",
        }
        serve = [python, "-m", "gateway.cli", "serve", "--upstream", f"{STUB}/v1", "--port", _port(LLMOS), "--model", "stub-off"]
        ours = start("llmos", serve, f"{LLMOS}/readyz", settings)
        peer = {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "PRESIDIO_ANALYZER_API_BASE": PRESIDIO,
            "PRESIDIO_ANONYMIZER_API_BASE": PRESIDIO,
        }
        command = litellm_command(folder, port=int(_port(PROXY)), upstream_port=int(_port(STUB)))
        proxy = start("litellm", command, f"{PROXY}/health/liveliness", peer)
        return uvloop.run(run(requests, {"LLMOS": ours, "LiteLLM": proxy, "Presidio over HTTP, for LiteLLM": presidio}))


def _port(url: str) -> str:
    return url.rpartition(":")[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=300, help="requests a target in the first table; the others scale with it")
    parser.add_argument("--quick", action="store_true", help="few requests: a check of the bench, not a figure; nothing is written")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="llmos-bench-"))
    try:
        figures = _with_everything(QUICK_REQUESTS if arguments.quick else arguments.requests, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    page = [*report.head(), *figures.page]
    print("\n".join(page))
    if arguments.quick:
        return
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text("\n".join(page).rstrip() + "\n")
    numbers: dict[str, Any] = {
        "p50_ms": figures.p50,
        "first_ms": figures.first,
        "requests_per_s": figures.rate,
        "cpu_ms": figures.cpu,
        "memory_mb": figures.memory_mb,
        "presidio_ms": figures.presidio_ms,
        "scrubbing_ms": figures.scrubbing_ms,
    }
    FIGURES.write_text(json.dumps(stamped(numbers), indent=1) + "\n")
    print(f"Written to {PAGE.relative_to(ROOT)} and {FIGURES.name}.")


if __name__ == "__main__":
    main()
