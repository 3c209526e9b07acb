"""What each protection costs beside the unprotected path, one request at a time: `python -m bench.overhead [--requests 40]`.

The same question goes to the stub itself and through the gateway under policies that protect more and more. Milliseconds are medians,
CPU is the time of the gateway, its detector and its store together; commands and bytes are the store's own counts. Writes
docs/benchmarks/overhead.json, of which docs/overhead.md is made.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import redis
from redis.asyncio import Redis

from bench.gateway.load import TEXT
from bench.gateway.processes import PEERS, ROOT, cpu_s, memory_mb, process
from bench.stamp import stamped
from gateway.serving.valkey import EmbeddedValkey
from gateway.stores.policies import ValkeyPolicies

REPORT = ROOT / "docs" / "benchmarks" / "overhead.json"
STUB, LLMOS = "http://127.0.0.1:8863", "http://127.0.0.1:8864"
KEY = "sk-llmos-bench-0000"
SCORE = {"type": "number", "minimum": 0, "maximum": 10, "x-dp": {"mechanism": "laplace", "epsilon": 1.0}}
MECHANISM = {"kind": "structured", "json_schema": {"type": "object", "properties": {"score": SCORE}}, "max_tokens": 60}
POLICIES = [
    {"id": "off", "match": {"models": ["stub-off"]}, "entities": {}, "response": {"scan": "off"}},
    {"id": "scan", "match": {"models": ["stub-scan"]}, "extends": "default", "response": {"scan": "ner"}},
    {"id": "dp", "match": {"models": ["stub-dp"]}, "extends": "default", "dp": {"mechanism": MECHANISM, "budget": {"epsilon": 1e6}}},
]


@dataclass
class Way:
    """One way to the stub, and what a request on it costs."""

    name: str
    model: str
    new_text: bool = False
    direct: bool = False
    ms: list[float] = field(default_factory=list)
    cpu_ms: float = 0.0
    commands: float = 0.0
    written: float = 0.0


WAYS = [
    Way("no gateway", "stub", direct=True),
    Way("gateway, nothing protected", "stub-off"),
    Way("scrub and restore, a text seen before", "stub"),
    Way("scrub and restore, a new text", "stub", new_text=True),
    Way("the same, and the answer scanned by name", "stub-scan", new_text=True),
    Way("scrub and a noised, structured answer, a new text", "stub-dp", new_text=True),
]


def measure(way: Way, requests: int, pids: list[int], store: redis.Redis) -> None:
    with httpx.Client(timeout=60, headers={"authorization": f"Bearer {KEY}"}) as client:

        def ask() -> float:
            text = f"{TEXT} Reference {secrets.token_hex(4)}." if way.new_text else TEXT
            body = {"model": way.model, "messages": [{"role": "user", "content": text}]}
            begin = time.perf_counter()
            answer = client.post((STUB if way.direct else LLMOS) + "/v1/chat/completions", json=body)
            assert answer.status_code == 200, answer.text
            return (time.perf_counter() - begin) * 1e3

        for _ in range(5):
            ask()
        before = sum(map(cpu_s, pids)), *_counts(store)
        way.ms = [ask() for _ in range(requests)]
        after = sum(map(cpu_s, pids)), *_counts(store)
    way.cpu_ms, way.commands, way.written = (
        1e3 * (after[0] - before[0]) / requests, (after[1] - before[1]) / requests, (after[2] - before[2]) / requests,
    )  # fmt: skip


def _counts(store: redis.Redis) -> tuple[int, int]:
    """Commands that clients sent, and the bytes of the append-only file."""
    called = {name: each["calls"] for name, each in store.info("commandstats").items()}
    return sum(called.values()), store.info("persistence")["aof_current_size"]


async def apply(url: str) -> None:
    async with Redis.from_url(url) as client, ValkeyPolicies(client) as policies:
        await policies.seed("default")
        for policy in POLICIES:
            await policies.apply(json.dumps(policy), author="bench", reason="what protection costs")


def report(memory: float, requests: int, load: float) -> dict[str, Any]:
    return {
        "requests": requests,
        "load": load,
        "memory_mb": memory,
        "paths": [
            {"name": way.name, "ms": statistics.median(way.ms), "cpu_ms": None if way.direct else way.cpu_ms}
            | {"commands": way.commands, "written": way.written}
            for way in WAYS
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=40)
    requests, load = parser.parse_args().requests, os.getloadavg()[0]
    folder, python = Path(tempfile.mkdtemp(prefix="llmos-overhead-")), sys.executable
    try:
        with contextlib.ExitStack() as stack:
            valkey = stack.enter_context(EmbeddedValkey(folder / "data"))
            asyncio.run(apply(valkey.url))
            stub = [python, str(PEERS / "stub_upstream.py"), "--port", STUB[-4:]]
            stack.enter_context(process(stub, f"{STUB}/v1/models", folder / "stub.log", {}))
            settings = {
                "PYTHONPATH": str(ROOT),
                "LLMOS_DATA_DIR": str(folder / "data"),
                "LLMOS_REDIS_URL": valkey.url,
                "LLMOS_DEV_KEY": KEY,
            }
            settings |= {"LLMOS_DETECTOR_WORKERS": "1", "LLMOS_MODELS": "stub-off,stub-scan,stub-dp"}
            serve = [python, "-m", "gateway.cli", "serve", "--upstream", f"{STUB}/v1", "--port", LLMOS[-4:]]
            gateway = stack.enter_context(process(serve, f"{LLMOS}/readyz", folder / "llmos.log", settings))
            store = stack.enter_context(redis.Redis.from_url(valkey.url))
            pids = [gateway, int(store.info("server")["process_id"])]
            for way in WAYS:
                print(f"  {way.name} …", flush=True)
                measure(way, requests, pids, store)
            figures = report(memory_mb(gateway), requests, load)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    REPORT.write_text(json.dumps(stamped(figures), indent=1) + "\n")
    subprocess.run([python, str(ROOT / "docs" / "benchmark_pages.py")], check=True)


if __name__ == "__main__":
    main()
