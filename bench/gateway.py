"""What the gateway adds: milliseconds, requests a second and memory, beside LiteLLM Proxy on the same stub in the same run.

    python -m bench.gateway [--requests 300] [--quick]

One stub upstream, LLMOS, LiteLLM Proxy alone and with Presidio are started on loopback and asked in turn, in blocks (A B C A B C), so
that a machine whose speed drifts is fair to all. Writes docs/bench/gateway.md. LiteLLM's environment `.venv-litellm` is made on the
first run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import os
import platform
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from redis.asyncio import Redis

from gateway.serving.tether import tethered
from gateway.serving.valkey import EmbeddedValkey
from gateway.stores.policies import ValkeyPolicies

ROOT = Path(__file__).parent.parent
PEERS = ROOT / "bench" / "peers"
REPORT = ROOT / "docs" / "bench" / "gateway.md"
LITELLM_VENV = ROOT / ".venv-litellm"
LITELLM = "litellm[proxy]==1.106.2"
STUB, LLMOS, PROXY, PRESIDIO = 8843, 8844, 8845, 8846
KEY = "sk-llmos-bench-0000"
OFF = "id: detection-off\nmatch: {models: [stub-off]}\nresponse: {scan: 'off'}\n"
TEXT = "Hi, I am Sarah Connor. Mail me at sarah.connor@example.org or call +1 415 555 0132; my card is 4111 1111 1111 1111. Please confirm."
BLOCKS = 5


@dataclass
class Target:
    """A way to the stub."""

    name: str
    url: str
    key: str
    extra: dict[str, Any]
    total_ms: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0
    failures: int = 0

    def reset(self) -> None:
        self.total_ms, self.first_ms, self.seconds, self.failures = [], [], 0.0, 0

    def quantile(self, fraction: float) -> float:
        ordered = sorted(self.total_ms)
        return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))] if ordered else float("nan")

    @property
    def rate(self) -> float:
        return len(self.total_ms) / self.seconds if self.seconds else float("nan")


async def ask(session: aiohttp.ClientSession, target: Target, text: str, stream: bool) -> None:
    body = {"model": "stub", "messages": [{"role": "user", "content": text}], "stream": stream, **target.extra}
    begin = time.perf_counter()
    async with session.post(target.url + "/chat/completions", json=body, headers={"authorization": f"Bearer {target.key}"}) as response:
        first = None
        async for piece in response.content.iter_any():
            if first is None and (not stream or b'"content":"' in piece.replace(b": ", b":").replace(b'"content":""', b"")):
                first = time.perf_counter() - begin
        total = time.perf_counter() - begin
        if response.status != 200:
            target.failures += 1
    target.total_ms.append(total * 1e3)
    target.first_ms.append((first or total) * 1e3)


async def measure(targets: list[Target], requests: int, *, concurrency: int, stream: bool, new_text: bool) -> None:
    for target in targets:
        target.reset()
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120)) as session:
        for target in targets:  # warm every connection and cache
            await asyncio.gather(*(ask(session, target, TEXT, stream) for _ in range(min(2 * concurrency, 20))))
            target.reset()
        for block in range(BLOCKS):
            for target in targets:
                slots = asyncio.Semaphore(concurrency)

                async def one(target: Target = target, slots: asyncio.Semaphore = slots) -> None:
                    async with slots:
                        text = f"{TEXT} Reference {secrets.token_hex(4)}." if new_text else TEXT
                        await ask(session, target, text, stream)

                begin = time.perf_counter()
                await asyncio.gather(*(one() for _ in range(max(1, requests // BLOCKS))))
                target.seconds += time.perf_counter() - begin
            print(f"    block {block + 1} of {BLOCKS}", end="\r", flush=True)


async def presidio_ms(requests: int) -> float:
    """Presidio's own analysis of the text, asked over HTTP: the median."""
    times = []
    async with aiohttp.ClientSession() as session:
        for _ in range(requests):
            begin = time.perf_counter()
            body = {"text": f"{TEXT} Reference {secrets.token_hex(4)}.", "language": "en"}
            async with session.post(f"http://127.0.0.1:{PRESIDIO}/analyze", json=body) as response:
                await response.read()
            times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times)


def memory_mb(pid: int) -> float:
    """Proportional set size of a process and its children."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if _descends(int(path.name), pid):
                rollup = (path / "smaps_rollup").read_text()
                total += int(rollup.split("Pss:")[1].split()[0]) / 1024
    return total


def _descends(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return False


@contextlib.contextmanager
def process(argv: list[str], url: str, log: Path, environment: dict[str, str]) -> Iterator[int]:
    """Run `argv` until the end of the context; entered when `url` answers."""
    import urllib.error
    import urllib.request

    base = {name: value for name, value in os.environ.items() if not name.startswith("LLMOS_")}
    with log.open("wb") as out:
        child = subprocess.Popen(tethered(argv), env={**base, **environment}, stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + 180
        while True:
            if child.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{argv[0]} did not start; the end of its log:\n{log.read_text()[-2000:]}")
            try:
                urllib.request.urlopen(url, timeout=5).read()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.25)
        yield child.pid
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def litellm_command(folder: Path) -> list[str]:
    """Make LiteLLM's environment if it is not there, and its configuration for our ports."""
    program = LITELLM_VENV / "bin" / "litellm"
    if not program.exists():
        print(f"  installing {LITELLM} into {LITELLM_VENV.name} (once) …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(LITELLM_VENV)], check=True)
        subprocess.run([str(LITELLM_VENV / "bin" / "pip"), "install", "--quiet", LITELLM], check=True)
    config = folder / "litellm.yaml"
    config.write_text((PEERS / "litellm_proxy.yaml").read_text().replace("127.0.0.1:8801", f"127.0.0.1:{STUB}"))
    return [str(program), "--config", str(config), "--port", str(PROXY), "--host", "127.0.0.1"]


async def apply_policies(url: str) -> None:
    async with Redis.from_url(url) as redis, ValkeyPolicies(redis) as policies:
        await policies.seed("default")
        await policies.apply(OFF, author="bench", reason="the path without detection")


def row(*cells: object) -> str:
    return "| " + " | ".join(f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |"


def table(title: str, targets: list[Target], *, first: bool) -> list[str]:
    direct = targets[0]
    head = ["", "p50", "p95", "p99", *(["first chunk p50"] if first else []), "added p50", "added p95", "added p99"]
    lines = [f"### {title}", "", row(*head, "requests/s", "failed"), row(*["---"] * (len(head) + 2))]
    for target in targets:
        quantiles = [target.quantile(fraction) for fraction in (0.5, 0.95, 0.99)]
        added = [value - direct.quantile(fraction) for value, fraction in zip(quantiles, (0.5, 0.95, 0.99), strict=True)]
        chunk = [statistics.median(target.first_ms)] if first else []
        lines.append(row(target.name, *quantiles, *chunk, *(added if target is not direct else ["", "", ""]), target.rate, target.failures))
    return [*lines, ""]


async def run(arguments: argparse.Namespace, pids: dict[str, int]) -> list[str]:
    requests = 60 if arguments.quick else arguments.requests
    llmos = f"http://127.0.0.1:{LLMOS}/v1"
    proxy = f"http://127.0.0.1:{PROXY}/v1"
    direct = Target("direct", f"http://127.0.0.1:{STUB}/v1", "none", {})
    off = Target("LLMOS, detection off", llmos, KEY, {"model": "stub-off"})
    ours = Target("LLMOS", llmos, KEY, {})
    alone = Target("LiteLLM", proxy, "sk-peer-0000", {})
    masked = Target("LiteLLM + Presidio", proxy, "sk-peer-0000", {"guardrails": ["presidio"]})
    everyone = [direct, off, ours, alone, masked]
    report: list[str] = []

    async def section(title: str, count: int, *, concurrency: int, stream: bool, new_text: bool) -> None:
        print(f"  {title} …", flush=True)
        await measure(everyone, count, concurrency=concurrency, stream=stream, new_text=new_text)
        report.extend(table(title, everyone, first=stream))

    await section("The same text again, one request at a time (ms)", requests, concurrency=1, stream=False, new_text=False)
    await section("New text each time, one request at a time (ms)", requests // 2, concurrency=1, stream=False, new_text=True)
    await section("A stream of the same text, one at a time (ms)", requests // 2, concurrency=1, stream=True, new_text=False)
    await section("A stream of new text, one at a time (ms)", requests // 3, concurrency=1, stream=True, new_text=True)
    await section("The same text, 32 requests at once (ms)", requests * 2, concurrency=32, stream=False, new_text=False)
    ratio = ours.rate / alone.rate
    report += [
        f"LLMOS serves {ratio:.1f} times the requests a second of LiteLLM alone, {off.rate / alone.rate:.1f} times without detection."
    ]
    report += [f"Presidio's own analysis of a new text, asked over HTTP: {await presidio_ms(30):.1f} ms p50.", ""]
    report += ["### Memory (MB, proportional set size, after the runs above)", "", row("process", "MB"), row("---", "---")]
    report += [row(name, f"{memory_mb(pid):.0f}") for name, pid in pids.items()]
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=300, help="requests a target in the first table; the others scale with it")
    parser.add_argument("--quick", action="store_true", help="few requests: a check of the bench, not a figure")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="llmos-bench-"))
    try:
        report = _with_everything(arguments, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    load = os.getloadavg()
    head = [
        "# What the gateway adds",
        "",
        "Made by `make bench-gateway`. All processes, the stub and the load client share the machine; every column is of one run.",
        "",
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, LLMOS {version('llmos') if _installed('llmos') else 'from source'}, "
        f"aiohttp {version('aiohttp')}, uvicorn {version('uvicorn')}, {LITELLM}. "
        f"Load average at the end {load[0]:.1f}, {load[1]:.1f} (2 is full).",
        "",
    ]
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text("\n".join([*head, *report]) + "\n")
    print("\n".join(report))
    print(f"Written to {REPORT.relative_to(ROOT)}.")


def _installed(name: str) -> bool:
    try:
        version(name)
    except ImportError:
        return False
    return True


def _with_everything(arguments: argparse.Namespace, folder: Path) -> list[str]:
    python = sys.executable
    with contextlib.ExitStack() as stack:
        valkey = stack.enter_context(EmbeddedValkey(folder / "data"))
        asyncio.run(apply_policies(valkey.url))
        print("  starting the stub, Presidio, LLMOS and LiteLLM …", flush=True)
        stub = f"http://127.0.0.1:{STUB}"
        stack.enter_context(
            process([python, str(PEERS / "stub_upstream.py"), "--port", str(STUB)], f"{stub}/v1/models", folder / "stub.log", {})
        )
        presidio = stack.enter_context(
            process(
                [python, str(PEERS / "presidio_http.py"), "--port", str(PRESIDIO)],
                f"http://127.0.0.1:{PRESIDIO}/openapi.json",
                folder / "presidio.log",
                {},
            )
        )
        settings = {
            "PYTHONPATH": str(ROOT),
            "LLMOS_DATA_DIR": str(folder / "data"),
            "LLMOS_REDIS_URL": valkey.url,
            "LLMOS_DEV_KEY": KEY,
            "LLMOS_DETECTOR_WORKERS": "1",
        }
        serve = [python, "-m", "gateway.cli", "serve", "--upstream", f"{stub}/v1", "--port", str(LLMOS), "--model", "stub-off"]
        ours = stack.enter_context(process(serve, f"http://127.0.0.1:{LLMOS}/readyz", folder / "llmos.log", settings))
        peer = {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "PRESIDIO_ANALYZER_API_BASE": f"http://127.0.0.1:{PRESIDIO}",
            "PRESIDIO_ANONYMIZER_API_BASE": f"http://127.0.0.1:{PRESIDIO}",
        }
        proxy = stack.enter_context(
            process(litellm_command(folder), f"http://127.0.0.1:{PROXY}/health/liveliness", folder / "litellm.log", peer)
        )
        pids = {"LLMOS with one detector process": ours, "LiteLLM": proxy, "Presidio over HTTP, for LiteLLM": presidio}
        return uvloop.run(run(arguments, pids))


if __name__ == "__main__":
    main()
