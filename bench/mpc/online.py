"""One request over the real processes: seconds a token, prefill, rounds, bytes, memory; the dealer stands still meanwhile."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import statistics
import time
from pathlib import Path

from bench.mpc import fidelity
from mpc_inference import launch
from mpc_inference.config import Deployment, read_config, write_config
from mpc_inference.tokens import ChatTokens

PREFILL, DECODE = 32, 8
GIGABIT = 1e9 / 8


def measure(config: Path, context: int, delay_ms: float, logs: Path) -> dict[str, float | str]:
    """Prefill after the public prefix (at least PREFILL tokens), then DECODE tokens, of which the last sees `context` tokens.

    The dealer fills its stock first and is stopped (SIGSTOP) while the clock runs: what it does is measured by itself (offline.py). With a
    delay every exchange of the parties also pays for its bytes at 1 Gbit/s.
    """
    base = read_config(config)
    private = base.mode != "public"
    prefix = ChatTokens(base.model).public_prefix()
    rows = max(PREFILL, context - len(prefix) - DECODE)
    changes = {
        "stock_tokens": rows + DECODE,
        "stock_answers": DECODE,
        "link_delay_s": delay_ms / 1e3,
        "link_bytes_per_s": GIGABIT if delay_ms else 0.0,
        "deadline_s": 60.0,
    }
    write_config(config, Deployment.model_validate(base.model_dump() | changes))
    begin = time.perf_counter()
    try:
        with launch.up(config, production=False, timeout_s=240, logs=logs) as processes:
            started_s = time.perf_counter() - begin
            client = launch.client(config)
            prompt = [*prefix, *fidelity.text_tokens(base.model, rows)]
            launch.wait_ready(config, 300, tokens=rows + DECODE, answers=DECODE if private else 0)
            before = launch.status(config)[0]
            os.kill(processes["dealer"].pid, signal.SIGSTOP)

            async def run() -> list[float]:
                times, last = [], time.perf_counter()
                async for _ in client.generate(prompt, max_tokens=DECODE):
                    now = time.perf_counter()
                    times.append(now - last)
                    last = now
                return times

            try:
                times = asyncio.run(run())
                after = launch.status(config)[0]
            finally:
                os.kill(processes["dealer"].pid, signal.SIGCONT)
    finally:
        write_config(config, base)
    tokens, passes = after["tokens"] - before["tokens"], after["passes"] - before["passes"]
    return {
        "mode": base.mode,
        "delay_ms": delay_ms,
        "context": len(prompt) + DECODE,
        "start_s": started_s,
        "prefill_tokens": rows,
        "prefill_s": times[0],
        "prefill_32_s": times[0] * PREFILL / rows,
        "token_s": statistics.median(times[1:]),
        "token_worst_s": max(times[1:]),
        "rounds_per_token": (after["rounds"] - before["rounds"]) / passes,
        "online_mb_per_token": (after["peer_sent_bytes"] - before["peer_sent_bytes"]) * 2 / tokens / 1e6,
        **({} if delay_ms else memory(config, logs)),
    }


def memory(config: Path, logs: Path) -> dict[str, float]:
    """The most that each process held while one question was answered, with the stock of randomness that the configuration names."""
    base = read_config(config)
    with launch.up(config, production=False, timeout_s=240, logs=logs) as processes:
        client = launch.client(config)
        answers = base.stock_answers if base.mode != "public" else 0
        launch.wait_ready(config, 300, tokens=base.stock_tokens, answers=answers)
        prompt = client.tokens.chat([{"role": "user", "content": "What is the capital of France? Answer in one long sentence."}])

        async def run() -> None:
            async for _ in client.generate(prompt, max_tokens=16):
                pass

        asyncio.run(run())
        return {f"peak_rss_mb_{role}": peak_mb(p.pid) for role, p in processes.items()}


def peak_mb(pid: int) -> float:
    """The largest resident memory that a process had (Linux), in units of 10^6 bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 / 1e6 if found else float("nan")
