"""Every figure of MPC inference: `python -m bench.mpc [PART …]`, parts online, peers, delays, context, fidelity; all without a name.

Each part prints its rows and writes docs/benchmarks/mpc-PART.json; the page docs/benchmarks/mpc.md is written from whichever are there.
`online` and `delays` start the three processes on loopback. `--realtime` runs under the real-time scheduler (Linux, root), for a machine
that others use too. With all parts the run takes about half an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.mpc import context, fidelity, online, page, peers
from mpc_inference import launch
from mpc_inference.native.core import core

ROOT = Path(__file__).parents[2]
OUT = ROOT / "docs" / "benchmarks"
PARTS = ("online", "peers", "delays", "context", "fidelity")
CONTEXT, DELAYS_MS = 64, (1.0, 10.0)


def run(part: str, configs: dict[str, Path], given: argparse.Namespace, out: Path) -> list[dict[str, Any]]:
    """One part's rows."""
    logs = given.work / "logs"
    if part == "online":
        return [online.measure(config, CONTEXT, 0.0, logs) for config in configs.values()]
    if part == "delays":
        return [online.measure(config, CONTEXT, delay, logs) for config in configs.values() for delay in DELAYS_MS]
    if part == "context":
        return [row for config in configs.values() for row in context.measure(config)]
    if part == "fidelity":
        return [{"mode": mode, **vars(fidelity.measure(config, given.tokens))} for mode, config in configs.items()]
    rows = peers.measure(given.spu_python)
    beside = out / "mpc-online.json"
    if beside.exists():
        rows.append(peers.ratios(rows, json.loads(beside.read_text())["rows"]))
    return rows


def others(path: Path, measured: dict[str, Path], machine: str) -> list[dict[str, Any]]:
    """The rows that an earlier run on such a machine left for modes that this run does not measure."""
    if not path.exists() or path.stem == "mpc-peers":
        return []
    earlier = json.loads(path.read_text())
    return [row for row in earlier["rows"] if row["mode"] not in measured] if earlier["machine"] == machine else []


def main() -> int:
    """Run the named parts."""
    parser = argparse.ArgumentParser(prog="python -m bench.mpc", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which parts; all without a name")
    parser.add_argument("--model", type=Path, default=ROOT / ".llmos/models/smollm2", help="Hugging Face directory of the model")
    parser.add_argument("--modes", default="public,owner,shared", help="which modes, comma separated; the other modes' rows stay")
    parser.add_argument("--work", type=Path, help="where the deployments lie (default: a temporary directory; a kept one saves preparing)")
    parser.add_argument("--port", type=int, default=9520, help="first of three ports")
    parser.add_argument("--tokens", type=int, default=2000, help="how many the fidelity part scores, for each mode")
    parser.add_argument("--spu-python", type=Path, help="the interpreter of an environment with the package spu")
    parser.add_argument("--realtime", action="store_true", help="run under SCHED_RR")
    parser.add_argument("--out", type=Path, default=OUT, help="where figures and page are written")
    given = parser.parse_args()
    if given.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    given.work = given.work or Path(tempfile.mkdtemp(prefix="bench-mpc-"))
    configs = {
        mode: launch.init(given.work / mode, given.model, places=launch.loopback(given.port), mode=mode) for mode in given.modes.split(",")
    }
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, AES instructions {core().has_aesni}"
    given.out.mkdir(parents=True, exist_ok=True)
    for part in given.parts or PARTS:
        rows = run(part, configs, given, given.out)
        for row in rows:
            print(part, "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
        path = given.out / f"mpc-{part}.json"
        found = {"part": part, "machine": machine, "when": time.strftime("%Y-%m-%d"), "rows": [*others(path, configs, machine), *rows]}
        path.write_text(json.dumps(found, indent=1) + "\n")
        page.write(given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
