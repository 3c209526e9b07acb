"""The ledger of opened values: which names the parties opened, how many words of how many bits, in how many rounds.

A test compares the names with the list in docs/mpc.md; status and benchmark read the counters. It holds no value.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Ledger:
    """Counts since the start of the process."""

    opened: Counter[str] = field(default_factory=Counter)
    bits: dict[str, int] = field(default_factory=dict)
    rounds: int = 0
    sent_bytes: int = 0

    def record(self, name: str, count: int, bits: int) -> None:
        """One opening of `count` words of `bits` bits. Raises AssertionError when a name changes its width within a layer kind."""
        self.opened[name] += count
        self.bits[name] = max(bits, self.bits.get(name, 0))
