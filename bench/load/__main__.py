"""Five hundred streams at once on one worker, beside LiteLLM Proxy on the same stub; and the soak.

    python -m bench.load [--streams 500] [--seconds 300] [--peer-seconds 60] [--chunk-ms 1000]
    python -m bench.load --minutes 30        mixed traffic, memory and file handles plotted

A stream is 36 chunks, one every `--chunk-ms`: the stub keeps its time, so what a target takes longer is what it adds. The stub, the load
client and the target share the machine. Writes docs/benchmarks/load.{md,json}, or docs/benchmarks/soak.{md,json,png}.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop

from bench.gateway.load import quantile
from bench.gateway.processes import PEERS, ROOT, litellm_command, process
from bench.load.report import CHUNKS, plot, report, soak_report
from bench.load.traffic import Load, many_streams, soak
from bench.stamp import stamped
from gateway.serving.valkey import EmbeddedValkey

STUB, LLMOS, PROXY = (f"http://127.0.0.1:{port}" for port in (8853, 8854, 8855))
KEY, PEER_KEY = "sk-llmos-bench-0000", "sk-peer-0000"
PAGE = ROOT / "docs" / "benchmarks" / "load.md"
SOAK = ROOT / "docs" / "benchmarks" / "soak.json"


async def run(arguments: argparse.Namespace, pids: dict[str, int]) -> dict[str, Any]:
    before = os.getloadavg()[0]
    ours = Load("LLMOS", LLMOS, KEY, pids["LLMOS"])
    if arguments.minutes:
        print(f"  mixed traffic for {arguments.minutes:g} minutes …", flush=True)
        await soak(ours, arguments.minutes)
        held = ours.samples
        assert held is not None
        figures = {
            "minutes": arguments.minutes,
            "outcomes": dict(ours.outcomes),
            "memory_mb": [held.memory_mb[0], held.memory_mb[len(held.memory_mb) // 2], held.memory_mb[-1]],
            "memory_growth_mb_per_minute": held.growth(held.memory_mb),
            "handles": [held.handles[0], max(held.handles), held.handles[-1]],
            "handles_growth_per_minute": held.growth(held.handles),
            "load_average_before": before,
        }
        SOAK.write_text(json.dumps(stamped(figures), indent=1) + "\n")
        SOAK.with_suffix(".md").write_text("\n".join(soak_report(ours, arguments.minutes, before)))
        plot(held, SOAK.with_suffix(".png"))
        return figures
    direct = Load("direct", STUB, "none")
    peer = Load("LiteLLM", PROXY, PEER_KEY, pids["LiteLLM"])
    for load, seconds in ((direct, arguments.peer_seconds), (ours, arguments.seconds), (peer, arguments.peer_seconds)):
        print(f"  {load.name}: {arguments.streams} streams for {seconds:.0f} s …", flush=True)
        await many_streams(load, arguments.streams, seconds)
        print(f"    served {len(load.total_ms)}, {dict(load.outcomes)}", flush=True)
    lines = report(arguments, [direct, ours, peer], before)
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text("\n".join(lines))
    figures = {
        each.name: {
            "served": len(each.total_ms),
            "failed": each.failed,
            "p99_ms": quantile(each.total_ms, 0.99),
            "added_p99_ms": quantile(each.total_ms, 0.99) - quantile(direct.total_ms, 0.99),
            "memory_growth_mb_per_minute": each.samples.growth(each.samples.memory_mb) if each.samples else None,
            "memory_mb": [round(value) for value in each.samples.memory_mb] if each.samples else None,
        }
        for each in (direct, ours, peer)
    }
    PAGE.with_suffix(".json").write_text(json.dumps(stamped(figures), indent=1) + "\n")
    print("\n".join(lines))
    if ours.failed:
        raise SystemExit(f"{ours.failed} streams of LLMOS failed")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long LLMOS is under load")
    parser.add_argument("--peer-seconds", type=float, default=60.0, help="how long the stub alone and LiteLLM are")
    parser.add_argument("--chunk-ms", type=float, default=1000.0, help="the stub's pause between two chunks of one stream")
    parser.add_argument("--minutes", type=float, default=0.0, help="run the soak for so long instead")
    arguments = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8 * arguments.streams)), hard))
    folder = Path(tempfile.mkdtemp(prefix="llmos-load-"))
    try:
        figures = _with_everything(arguments, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if arguments.minutes:
        print(json.dumps(figures, indent=1))


def _with_everything(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    python, chunk_ms = sys.executable, 20.0 if arguments.minutes else arguments.chunk_ms
    stub = [
        python,
        str(PEERS / "stub_upstream.py"),
        "--port",
        STUB[-4:],
        "--chunks",
        str(CHUNKS),
        "--chunk-delay-ms",
        str(chunk_ms),
    ]
    with contextlib.ExitStack() as stack:
        valkey = stack.enter_context(EmbeddedValkey(folder / "data"))
        stack.enter_context(process(stub, f"{STUB}/v1/models", folder / "stub.log", {}))
        settings = {
            "PYTHONPATH": str(ROOT),
            "LLMOS_DATA_DIR": str(folder / "data"),
            "LLMOS_REDIS_URL": valkey.url,
            "LLMOS_DEV_KEY": KEY,
            "LLMOS_DETECTOR_WORKERS": "1",
            "LLMOS_MAX_CONCURRENT_REQUESTS": str(2 * arguments.streams),
        }
        serve = [python, "-m", "gateway.cli", "serve", "--upstream", f"{STUB}/v1", "--port", LLMOS[-4:]]
        pids = {"LLMOS": stack.enter_context(process(serve, f"{LLMOS}/readyz", folder / "llmos.log", settings))}
        if not arguments.minutes:
            command = litellm_command(folder, port=int(PROXY[-4:]), upstream_port=int(STUB[-4:]))
            peer = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"} | {  # its configuration names Presidio, which nothing here asks for
                f"PRESIDIO_{each}_API_BASE": "http://127.0.0.1:9" for each in ("ANALYZER", "ANONYMIZER")
            }
            pids["LiteLLM"] = stack.enter_context(process(command, f"{PROXY}/health/liveliness", folder / "litellm.log", peer))
        return uvloop.run(run(arguments, pids))


if __name__ == "__main__":
    main()
