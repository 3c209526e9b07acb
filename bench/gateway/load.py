"""The load client: the same chat request to several targets in turn, closed loop.

Targets are asked in blocks (A B C A B C), so that a machine whose speed drifts is fair to all.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from bench.gateway.processes import cpu_s

TEXT = "Hi, I am Sarah Connor. Mail me at sarah.connor@example.org or call +1 415 555 0132; my card is 4111 1111 1111 1111. Please confirm."
BLOCKS = 5
_TIMEOUT_S = 120
_WARM_UP = 20


@dataclass
class Target:
    """A way to the stub, and what was measured of it in one section. `pid` is the process whose CPU time is counted."""

    name: str
    url: str
    key: str
    extra: dict[str, Any]
    pid: int | None = None
    total_ms: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    failures: int = 0

    def reset(self) -> None:
        self.total_ms, self.first_ms, self.seconds, self.cpu_seconds, self.failures = [], [], 0.0, 0.0, 0

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.total_ms) / self.seconds if self.seconds else float("nan")

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds of the process and its children for one request."""
        return 1e3 * self.cpu_seconds / len(self.total_ms) if self.pid and self.total_ms else float("nan")


def quantile(values: list[float], fraction: float) -> float:
    """The value below which `fraction` of `values` lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))] if ordered else float("nan")


def text_of(new: bool) -> str:
    """The request's text; a new one has words that no cache has seen."""
    return f"{TEXT} Reference {secrets.token_hex(4)}." if new else TEXT


async def ask(session: aiohttp.ClientSession, target: Target, text: str, stream: bool) -> None:
    """One request; its times go into `target`."""
    body = {"model": "stub", "messages": [{"role": "user", "content": text}], "stream": stream, **target.extra}
    begin = time.perf_counter()
    async with session.post(target.url + "/chat/completions", json=body, headers={"authorization": f"Bearer {target.key}"}) as response:
        first = None
        async for piece in response.content.iter_any():
            if first is None and (not stream or _says_something(piece)):
                first = time.perf_counter() - begin
        total = time.perf_counter() - begin
        target.failures += response.status != 200
    target.total_ms.append(total * 1e3)
    target.first_ms.append((first or total) * 1e3)


def _says_something(piece: bytes) -> bool:
    """Whether a chunk of a stream holds content, and not the role alone."""
    return b'"content":"' in piece.replace(b": ", b":").replace(b'"content":""', b"")


async def measure(targets: list[Target], requests: int, *, concurrency: int, stream: bool, new_text: bool) -> None:
    """`requests` of each target, `concurrency` at once."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=concurrency), timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S)
    ) as session:
        for target in targets:  # warm every connection and cache
            await asyncio.gather(*(ask(session, target, text_of(new_text), stream) for _ in range(min(2 * concurrency, _WARM_UP))))
            target.reset()
        for block in range(BLOCKS):
            for target in targets:
                slots = asyncio.Semaphore(concurrency)

                async def one(target: Target = target, slots: asyncio.Semaphore = slots) -> None:
                    async with slots:
                        await ask(session, target, text_of(new_text), stream)

                cpu, begin = cpu_s(target.pid), time.perf_counter()
                await asyncio.gather(*(one() for _ in range(max(1, requests // BLOCKS))))
                target.seconds += time.perf_counter() - begin
                target.cpu_seconds += cpu_s(target.pid) - cpu
            print(f"    block {block + 1} of {BLOCKS}", end="\r", flush=True)


async def presidio_ms(url: str, requests: int) -> list[float]:
    """Presidio's own analysis of a new text, asked over HTTP, one at a time."""
    times = []
    async with aiohttp.ClientSession() as session:
        for _ in range(requests):
            begin = time.perf_counter()
            async with session.post(f"{url}/analyze", json={"text": text_of(new=True), "language": "en"}) as response:
                await response.read()
            times.append((time.perf_counter() - begin) * 1e3)
    return times
