"""What a process holds over time: memory, file handles, CPU. Read from /proc, so Linux only."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.gateway.processes import cpu_s, memory_mb

EVERY_S = 5.0


@dataclass
class Samples:
    """One row every few seconds, of a process without or with its children."""

    pid: int
    seconds: list[float] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)  # proportional set size of the process and its children
    handles: list[int] = field(default_factory=list)  # open files and sockets of the process alone
    cpu_cores: float = 0.0

    async def take(self, seconds: float) -> None:
        """For so long."""
        began, cpu = time.monotonic(), cpu_s(self.pid)
        while time.monotonic() - began < seconds:
            self.seconds.append(time.monotonic() - began)
            self.memory_mb.append(memory_mb(self.pid))
            self.handles.append(_handles(self.pid))
            self.cpu_cores = (cpu_s(self.pid) - cpu) / max(self.seconds[-1], 1.0)
            await asyncio.sleep(EVERY_S)

    def growth(self, values: list[float] | list[int]) -> float:
        """Growth a minute over the second half, by least squares: the first half warms caches up."""
        half = len(values) // 2
        times, rest = self.seconds[half:], [float(value) for value in values[half:]]
        if len(rest) < 3:
            return float("nan")
        middle_t, middle_v = sum(times) / len(times), sum(rest) / len(rest)
        spread = sum((t - middle_t) ** 2 for t in times)
        return 60 * sum((t - middle_t) * (v - middle_v) for t, v in zip(times, rest, strict=True)) / spread


def _handles(pid: int) -> int:
    with contextlib.suppress(OSError):
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return 0
