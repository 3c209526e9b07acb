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
from mpc_inference import launch, prg, roles
from mpc_inference.config import Deployment, read_config, write_config
from mpc_inference.ledger import Ledger
from mpc_inference.llama.dealing import SessionDealing
from mpc_inference.llama.engine import Dealt
from mpc_inference.native.core import core
from mpc_inference.tokens import ChatTokens

PREFILL, DECODE = 32, 8


def offline(config: Path, position: int) -> dict[str, float]:
    """CPU seconds and megabytes for one token at `position` and its answer: the dealer's, and the parties' work ahead."""
    deployment = read_config(config)
    recipe = roles.load_dealer(deployment, core(), lambda done, total: None)
    seeds, answers = (prg.new_seed(), prg.new_seed()), (prg.new_seed(), prg.new_seed())
    dealing = SessionDealing(recipe, len(recipe.prefix_tokens), seeds)
    dealing.position = position
    begin = time.process_time()
    made = dealing.next()
    token_s = time.process_time() - begin
    out = {"offline_s": token_s, "offline_mb_party0": len(made[0]) / 1e6, "offline_mb_party1": len(made[1]) / 1e6}
    if deployment.mode == "public":
        return out
    begin = time.process_time()
    answer = recipe.answer(answers)
    out |= {
        "offline_s": token_s + time.process_time() - begin,
        "answer_mb_party0": len(answer[0]) / 1e6,
        "answer_mb_party1": len(answer[1]) / 1e6,
    }
    del recipe, dealing
    for party in (0, 1):
        part = roles.load_party(deployment, party, core(), lambda done, total: None).engine(lambda mine: mine, Ledger())
        arrived = [
            Dealt(seeds[party], position, np.frombuffer(made[party], np.uint8)),
            Dealt(answers[party], None, np.frombuffer(answer[party], np.uint8)),
        ]
        begin = time.process_time()
        part.work_ahead(arrived)
        out[f"ahead_s_party{party}"] = time.process_time() - begin
    return out


def online(config: Path, context: int, decode: int, directory: Path) -> dict[str, float]:
    """Prefill of what is missing to `context` (at least PREFILL tokens), then `decode` tokens, with the dealer stopped."""
    begin = time.perf_counter()
    with launch.up(config, production=False, timeout_s=60, logs=directory / "logs") as processes:
        started = time.perf_counter() - begin
        client = launch.client(config)
        need = read_config(config).stock_tokens
        launch.wait_ready(config, 300, tokens=need, answers=0 if read_config(config).mode == "public" else decode)
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
    parser.add_argument("--modes", default="public,owner,shared", help="which modes, comma separated")
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
    modes = given.modes.split(",")
    prefix = len(ChatTokens(given.model).public_prefix())
    results: list[dict[str, object]] = []
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"AES-NI {core().has_aesni}, loopback",
        flush=True,
    )
    for mode in modes:
        config = launch.init(work / mode, given.model, places=launch.loopback(given.port), mode=mode)
        base = read_config(config)
        for context in (int(c) for c in given.contexts.split(",")):
            for delay in (float(d) for d in given.delays_ms.split(",")):
                stock = max(PREFILL, context - prefix) + DECODE
                changes = {"stock_tokens": min(stock, 256), "stock_answers": DECODE, "link_delay_s": delay / 1e3, "deadline_s": 60.0}
                write_config(config, Deployment.model_validate(base.model_dump() | changes))
                row = {
                    "mode": mode,
                    "delay_ms": delay,
                    **online(config, context, DECODE, work),
                    **offline(config, max(context, prefix + 1)),
                }
                results.append(row)
                print("  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
        write_config(config, base)
        if given.fidelity:
            found = fidelity.measure(config, given.fidelity)
            results.append({"mode": mode, **vars(found)})
            print(mode, found, flush=True)
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
    if given.json:
        given.json.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
