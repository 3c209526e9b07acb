"""What privacy costs: `python -m bench.dp [PART …]`, parts accuracy, fluency, speed, sampler, crosstalk, ledger.

All run without a name. `ledger` starts a Valkey, `sampler` needs nothing; the others ask a real vLLM that carries the plugin (`--upstream
URL`, or one that is started here). Each part prints its table and writes docs/benchmarks/dp-PART.json; the first two are drawn into
docs/benchmarks/dp-curve.svg.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from bench.dp import accuracy, crosstalk, fluency, ledger, plot, sampler, speed
from bench.stamp import stamped
from gateway.serving.tether import tethered
from gateway.serving.vllm_server import START_TIMEOUT_S, VllmServer, is_healthy

ROOT = Path(__file__).parents[2]
OUT = ROOT / "docs" / "benchmarks"
DRAWN = {"accuracy": (accuracy.run, accuracy.CURVES), "fluency": (fluency.run, fluency.CURVES)}
ALONE = ("sampler", "ledger")
PARTS = {"speed": speed.run, "crosstalk": crosstalk.run}


@contextlib.contextmanager
def upstream(url: str | None, python: Path, model: Path, port: int) -> Iterator[str]:
    """The base URL of a vLLM with the plugin: the one named, or one of our own for as long as the context lasts."""
    if url:
        yield url.rstrip("/")
        return
    server = VllmServer(python, model, port)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(tethered(server.command()), env=server.environment(), stdout=log, stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while not is_healthy(f"http://127.0.0.1:{port}/health"):
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit("vLLM did not start; run `llmos doctor`, or name a running one with --upstream")
                time.sleep(0.5)
            yield server.base_url
        finally:
            process.terminate()
            process.wait(30)


def write(part: str, result: dict[str, Any]) -> None:
    """Keep the figures beside the machine that gave them."""
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"dp-{part}.json").write_text(json.dumps(stamped(result), indent=1) + "\n")


def add(part: str, quick: bool, result: dict[str, Any]) -> None:
    """Put new curves beside those that stand already: a part may be run curve by curve. Each says itself whether it was a short run."""
    path = OUT / f"dp-{part}.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    curves, short = kept.get("curves", {}) | result["curves"], set(kept.get("short_runs", ()))
    short = short | set(result["curves"]) if quick else short - set(result["curves"])
    write(part, {**result, "curves": curves, "short_runs": sorted(short)})


def main() -> None:
    """Run the named parts."""
    parser = argparse.ArgumentParser(prog="python -m bench.dp", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*DRAWN, *PARTS, *ALONE, []], help="which parts; all without a name")
    parser.add_argument("--upstream", help="base URL (…/v1) of a vLLM that carries the plugin")
    parser.add_argument("--port", type=int, default=8009, help="the port of the vLLM that is started otherwise")
    parser.add_argument("--python", type=Path, default=ROOT / ".venv-vllm/bin/python")
    parser.add_argument("--model", type=Path, default=ROOT / ".llmos/models/smollm2")
    parser.add_argument("--curve", help="only this curve of accuracy and fluency, such as 'ensemble of 8'")
    parser.add_argument("--quick", action="store_true", help="fewer trials: to see that it runs")
    given = parser.parse_args()
    parts = given.parts or [*DRAWN, *PARTS, *ALONE]
    if "sampler" in parts:
        write("sampler", sampler.run(given.quick))
    if "ledger" in parts:
        write("ledger", asyncio.run(ledger.run(given.quick)))
    asked = [part for part in parts if part not in ALONE]
    if asked:
        with upstream(given.upstream, given.python, given.model, given.port) as url:
            for part in asked:
                if part in DRAWN:
                    run, curves = DRAWN[part]
                    asyncio.run(run(url, given.quick, [c for c in curves if given.curve in (None, c)], partial(add, part, given.quick)))
                else:
                    asyncio.run(PARTS[part](url, given.quick, partial(write, part)))
        plot.draw(OUT)


if __name__ == "__main__":
    main()
