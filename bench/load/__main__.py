"""Five hundred streams at once on one worker, beside LiteLLM Proxy on the same stub; and the soak.

    python -m bench.load [--streams 500] [--seconds 300] [--peer-seconds 60] [--chunk-ms 1000]
    python -m bench.load --minutes 30        mixed traffic, memory and file handles plotted

A stream is 34 chunks, one every `--chunk-ms`: the stub keeps its time, so what a target takes longer is what it adds. The stub, the load
client and the target share the machine. Writes docs/benchmarks/load.{md,json}, or docs/benchmarks/soak.{json,png}.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import platform
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from bench.gateway.load import TEXT, quantile
from bench.gateway.processes import LITELLM, PEERS, ROOT, litellm_command, process
from bench.load.samples import Samples
from gateway.serving.valkey import EmbeddedValkey

STUB, LLMOS, PROXY = (f"http://127.0.0.1:{port}" for port in (8853, 8854, 8855))
KEY, PEER_KEY = "sk-llmos-bench-0000", "sk-peer-0000"
PAGE = ROOT / "docs" / "benchmarks" / "load.md"
SOAK = ROOT / "docs" / "benchmarks" / "soak.json"
CHUNK_CHARS = 4
RAMP_S = 20.0
VARIANTS = 40
SOAK_CALLERS = 12


@dataclass
class Load:
    """One target under load."""

    name: str
    url: str
    key: str
    pid: int | None = None
    total_ms: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    gaps_ms: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    samples: Samples | None = None

    @property
    def failed(self) -> int:
        return sum(number for outcome, number in self.outcomes.items() if outcome != "ok")


def text_of(dice: random.Random) -> str:
    """One of a few dozen texts, as the turns of as many conversations: a cached detection mostly."""
    return f"{TEXT} Reference {dice.randrange(VARIANTS):03d}."


async def stream(session: aiohttp.ClientSession, load: Load, text: str) -> None:
    """One stream, read to its end; it counts as served only if its text came back whole."""
    body = {"model": "stub", "messages": [{"role": "user", "content": text}], "stream": True}
    begin = last = time.perf_counter()
    first, got = None, ""
    try:
        async with session.post(load.url + "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {load.key}"}) as response:
            if response.status != 200:
                load.outcomes[f"{response.status}"] += 1
                return
            async for line in response.content:
                if not line.startswith(b"data: {"):
                    continue
                event = json.loads(line[6:])
                piece = "".join((choice.get("delta") or {}).get("content") or "" for choice in event.get("choices", ()))
                now = time.perf_counter()
                if piece:
                    got += piece
                    first = first or now - begin
                    load.gaps_ms.append((now - last) * 1e3)
                last = now
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        load.outcomes[type(error).__name__] += 1
        return
    load.outcomes["ok" if got == text else "changed"] += 1
    load.total_ms.append((time.perf_counter() - begin) * 1e3)
    load.first_ms.append((first or 0) * 1e3)


async def many_streams(load: Load, count: int, seconds: float) -> None:
    """`count` callers, begun over RAMP_S, each streaming again and again until the time is over; the last answers are read out."""
    end = time.monotonic() + seconds

    async def caller(number: int, session: aiohttp.ClientSession) -> None:
        dice = random.Random(number)
        await asyncio.sleep(min(RAMP_S, seconds / 3) * number / count)
        while time.monotonic() < end:
            await stream(session, load, text_of(dice))

    timeout = aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        sampling = None
        if load.pid:
            load.samples = Samples(load.pid)
            sampling = asyncio.create_task(load.samples.take())
        await asyncio.gather(*(caller(number, session) for number in range(count)))
        if sampling:
            sampling.cancel()


async def soak(load: Load, minutes: float) -> None:
    """Mixed traffic: streams and whole answers, new and known texts, wrong requests, callers that hang up."""
    end = time.monotonic() + 60 * minutes

    async def caller(number: int, session: aiohttp.ClientSession) -> None:
        dice = random.Random(number)
        while time.monotonic() < end:
            kind = dice.random()
            try:
                if kind < 0.4:
                    await stream(session, load, text_of(dice))
                elif kind < 0.8:
                    await _whole(session, load, f"{TEXT} Reference {dice.getrandbits(40):x}." if kind < 0.6 else text_of(dice))
                elif kind < 0.9:
                    await _wrong(session, load)
                else:
                    await _hang_up(session, load, text_of(dice))
            except (aiohttp.ClientError, OSError) as error:
                load.outcomes[type(error).__name__] += 1
            await asyncio.sleep(dice.uniform(0, 0.5))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=120)) as session:
        assert load.pid
        load.samples = Samples(load.pid)
        sampling = asyncio.create_task(load.samples.take())
        await asyncio.gather(*(caller(number, session) for number in range(SOAK_CALLERS)))
        sampling.cancel()


async def _whole(session: aiohttp.ClientSession, load: Load, text: str) -> None:
    body = {"model": "stub", "messages": [{"role": "user", "content": text}]}
    headers = {"authorization": f"Bearer {load.key}"}
    async with session.post(load.url + "/v1/chat/completions", json=body, headers=headers) as response:
        answer = await response.json()
        right = response.status == 200 and answer["choices"][0]["message"]["content"] == text
        load.outcomes["ok" if right else f"whole {response.status}"] += 1


async def _wrong(session: aiohttp.ClientSession, load: Load) -> None:
    headers = {"authorization": f"Bearer {load.key}"}
    async with session.post(load.url + "/v1/chat/completions", data=b'{"model": "stub", "messages": ', headers=headers) as response:
        await response.read()
        load.outcomes["ok" if response.status == 400 else f"wrong {response.status}"] += 1


async def _hang_up(session: aiohttp.ClientSession, load: Load, text: str) -> None:
    body = {"model": "stub", "messages": [{"role": "user", "content": text}], "stream": True}
    headers = {"authorization": f"Bearer {load.key}"}
    async with session.post(load.url + "/v1/chat/completions", json=body, headers=headers) as response:
        await response.content.readany()
        load.outcomes["ok" if response.status == 200 else f"hang-up {response.status}"] += 1
        response.close()


def report(arguments: argparse.Namespace, loads: list[Load], load_average: float) -> list[str]:
    direct = loads[0]
    machine = (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {LITELLM}. Load average before the run: {load_average:.1f}."
    )
    lines = [
        f"# {arguments.streams} streams at once",
        "",
        f"Made by `make bench-load`. One worker of each, before one stub that sends a chunk every {arguments.chunk_ms:.0f} ms a stream,",
        f"so {1000 / arguments.chunk_ms * arguments.streams:.0f} events a second. The stub and the load client share the machine. "
        f"LLMOS ran {arguments.seconds:.0f} s, the others {arguments.peer_seconds:.0f} s.",
        "A stream counts as served if its whole text came back. LiteLLM masks nothing here; LLMOS scrubs and restores.",
        "",
        machine,
        "",
        "| | served | failed | p50 s | p99 s | added p50 ms | added p99 ms | first chunk added p99 ms | memory MB | MB/min | cores |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for each in loads:
        p50, p99 = quantile(each.total_ms, 0.5), quantile(each.total_ms, 0.99)
        added = [p50 - quantile(direct.total_ms, 0.5), p99 - quantile(direct.total_ms, 0.99)]
        first = quantile(each.first_ms, 0.99) - quantile(direct.first_ms, 0.99)
        held = each.samples
        cells = [each.name, len(each.total_ms), each.failed, f"{p50 / 1e3:.2f}", f"{p99 / 1e3:.2f}"]
        cells += [f"{value:.0f}" for value in (*added, first)] if each is not direct else ["", "", ""]
        cells += [f"{held.memory_mb[-1]:.0f}", f"{held.growth(held.memory_mb):+.1f}", f"{held.cpu_cores:.2f}"] if held else ["", "", ""]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    lines += ["", "Failures by kind: " + "; ".join(f"{each.name} {dict(each.outcomes)}" for each in loads) + ".", ""]
    return lines


def plot(samples: Samples, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 5), layout="constrained")
    minutes = [second / 60 for second in samples.seconds]
    above.plot(minutes, samples.memory_mb)
    above.set(ylabel="memory, MB (gateway and detector)", ylim=(0, None))
    below.plot(minutes, samples.handles)
    below.set(ylabel="open files and sockets", xlabel="minutes", ylim=(0, None))
    figure.savefig(path, dpi=110)


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
        SOAK.write_text(json.dumps(figures, indent=1) + "\n")
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
            "memory_growth_mb_per_minute": each.samples.growth(each.samples.memory_mb) if each.samples else None,
        }
        for each in (direct, ours, peer)
    }
    PAGE.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n")
    print("\n".join(lines))
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
        "--chunk-chars",
        str(CHUNK_CHARS),
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
