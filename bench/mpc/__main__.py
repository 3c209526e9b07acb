"""Every figure of MPC inference in one command: `python -m bench.mpc --model DIR` (see --help).

Starts the three processes on loopback, fills the dealer's stock, stops the dealer (SIGSTOP) while the online phase is timed, and measures
the dealer by itself. `--realtime` runs all of it under the real-time scheduler (Linux, root), for a machine that others use too.
Beside it in the same run: the CrypTen block peer (30 times its block), and SPU when its package can be installed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.mpc import fidelity
from mpc_inference import launch, prg
from mpc_inference.config import Deployment, read_config, write_config
from mpc_inference.llama import artifact
from mpc_inference.llama.deal import deal_layer
from mpc_inference.native.core import core

PREFILL, DECODE = 32, 12


def offline(prepared: Path, position: int) -> dict[str, float]:
    """The dealer's CPU seconds and megabytes for one token at `position`."""
    model = artifact.load(prepared)
    shape, prefix = model.shape, len(model.prefix_tokens)
    own = position - prefix + 1
    masks = [[np.zeros((own, shape.kv_width), np.uint64) for _ in range(shape.layers)] for _ in "kv"]
    seeds = (prg.new_seed(), prg.new_seed())
    begin = time.process_time()
    made = [deal_layer(core(), shape, i, prefix, position, seeds, masks[0][i], masks[1][i]) for i in range(shape.layers)]
    spent = time.process_time() - begin
    return {
        "offline_s": spent,
        "offline_mb_party0": sum(len(m[0]) for m in made) / 1e6,
        "offline_mb_party1": sum(len(m[1]) for m in made) / 1e6,
    }


def online(config: Path, context: int, decode: int, directory: Path) -> dict[str, float]:
    """Prefill of what is missing to `context` (at least PREFILL tokens), then `decode` tokens, with the dealer stopped."""
    begin = time.perf_counter()
    with launch.up(config, production=False, timeout_s=60, logs=directory / "logs") as processes:
        started = time.perf_counter() - begin
        client = launch.client(config)
        need = read_config(config).stock_tokens
        launch.wait_ready(config, 300, tokens=need)
        prefix = client.tokens.public_prefix()
        words = fidelity.text_tokens(read_config(config).model, context)
        prompt = [*prefix, *words[: max(PREFILL, context - len(prefix))]]
        rows = len(prompt) - len(prefix)
        assert rows + decode <= need
        before = launch.status(config)[0]
        os.kill(processes["dealer"].pid, signal.SIGSTOP)

        async def run() -> list[float]:
            times, last = [], time.perf_counter()
            async for _ in client.generate(prompt, max_tokens=decode):
                now = time.perf_counter()
                times.append(now - last)
                last = now
            return times

        try:
            times = asyncio.run(run())
            after = launch.status(config)[0]
        finally:
            os.kill(processes["dealer"].pid, signal.SIGCONT)
        rss = {role: peak_mb(p.pid) for role, p in processes.items()}
    tokens = after["tokens"] - before["tokens"]
    return {
        "context": len(prompt),
        "start_s": started,
        "prefill_tokens": rows,
        "prefill_s": times[0],
        "token_s": statistics.median(times[1:]),
        "token_worst_s": max(times[1:]),
        "rounds_per_pass": (after["rounds"] - before["rounds"]) / (after["passes"] - before["passes"]),
        "online_mb_per_token": (after["peer_sent_bytes"] - before["peer_sent_bytes"]) * 2 / tokens / 1e6,
        **{f"peak_rss_mb_{k}": v for k, v in rss.items()},
    }


def peak_mb(pid: int) -> float:
    """The largest resident memory that a process had (Linux)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1e3 if found else float("nan")


def crypten_block(python: str) -> dict[str, float]:
    """The CrypTen peer's seconds for 30 blocks, public weights, at 64 cached positions and for 32 tokens."""
    done = subprocess.run(
        [python, str(Path(__file__).parents[1] / "peers" / "peer_crypten_block.py"), "--weights", "public", "--reps", "2"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    found = dict(re.findall(r"^(decode|prefill)\s.*?best ([0-9.]+)", done.stdout, re.M))
    return {f"crypten_{k}_s": 30 * float(v) for k, v in found.items()} or {"crypten_failed": float(done.returncode)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.mpc", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face directory of the model")
    parser.add_argument(
        "--work", type=Path, help="where the deployment lies (default: a temporary directory; a kept one saves the preparation)"
    )
    parser.add_argument("--port", type=int, default=9520, help="first of three ports")
    parser.add_argument("--contexts", default="64", help="context lengths, comma separated")
    parser.add_argument("--delays-ms", default="0", help="delay before each exchange of the parties, comma separated")
    parser.add_argument("--fidelity", type=int, default=0, metavar="TOKENS", help="also measure fidelity over so many tokens")
    parser.add_argument("--peers", action="store_true", help="also run the CrypTen block")
    parser.add_argument("--realtime", action="store_true", help="run under SCHED_RR")
    parser.add_argument("--json", type=Path, help="write the figures there")
    given = parser.parse_args()
    if given.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    work = given.work or Path(tempfile.mkdtemp(prefix="bench-mpc-"))
    config = launch.init(work, given.model, places=launch.loopback(given.port))
    base = read_config(config)
    results: list[dict[str, object]] = []
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"AES-NI {core().has_aesni}, mode public, loopback",
        flush=True,
    )
    for context in (int(c) for c in given.contexts.split(",")):
        for delay in (float(d) for d in given.delays_ms.split(",")):
            prefix = len(artifact.load(base.prepared).prefix_tokens)
            stock = max(PREFILL, context - prefix) + DECODE
            write_config(
                config,
                Deployment.model_validate(
                    base.model_dump() | {"stock_tokens": min(stock, 256), "link_delay_s": delay / 1e3, "deadline_s": 60.0}
                ),
            )
            row = {"delay_ms": delay, **online(config, context, DECODE, work), **offline(base.prepared, max(context, prefix + 1))}
            results.append(row)
            print("  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
    write_config(config, base)
    if given.peers:
        peer = crypten_block(sys.executable)
        results.append(peer)
        print("CrypTen 0.4.1, the same block x 30, public weights: " + "  ".join(f"{k} {v:.2f}" for k, v in peer.items()), flush=True)
        if "crypten_decode_s" in peer:
            own = results[0]
            print(
                f"ratio to CrypTen: token {peer['crypten_decode_s'] / own['token_s']:.1f}x, "
                f"prefill {peer.get('crypten_prefill_s', 0) / own['prefill_s']:.1f}x",
                flush=True,
            )
    if given.fidelity:
        found = fidelity.measure(given.model, base.prepared, given.fidelity)
        results.append(vars(found))
        print(found, flush=True)
    if given.json:
        given.json.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
