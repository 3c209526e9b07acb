"""Two files beside the store: outcomes that wait for it, and the heads that were signed.

The spool holds content-free outcome records while the store is away. The heads file is the copy of the signed heads that
somebody with the store alone can't cut; ship it elsewhere, and nobody on this machine can either.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import orjson

from gateway.audit.chain import Head
from gateway.errors import StoreUnavailable

MAX_SPOOL_BYTES = 64 * 1024 * 1024


class Spool:
    """JSON lines of outcomes, oldest first. The lines of one process; two gateways must not share a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._lines: deque[bytes] = deque()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists():
            self._lines.extend(line for line in path.read_bytes().splitlines() if line)
        self._bytes = sum(len(line) + 1 for line in self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def keep(self, record: Mapping[str, object], must: bool) -> None:
        """Write a record and flush it to the disk. Past MAX_SPOOL_BYTES only what `must` be kept is. Raises StoreUnavailable."""
        line = orjson.dumps(record)
        with self._lock:
            if not must and self._bytes > MAX_SPOOL_BYTES:
                raise StoreUnavailable("The store is away and the audit's spool is full; nothing is served until it is back.")
            try:
                with open(self._path, "ab", opener=_private) as file:
                    file.write(line + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as failed:
                raise StoreUnavailable("The store is away and the audit's spool can't be written.") from failed
            self._lines.append(line)
            self._bytes += len(line) + 1

    def read(self) -> list[dict[str, object]]:
        """All that is kept, the oldest first. A line that a crash cut becomes a record that says so."""
        with self._lock:
            records = []
            for line in self._lines:
                try:
                    records.append(orjson.loads(line))
                except orjson.JSONDecodeError:
                    records.append({"kind": "outcome", "outcome": "spool_line_cut"})
            return records

    def drop_first(self) -> None:
        """Forget the oldest record: it stands in the store now. The file shrinks when all are gone."""
        with self._lock:
            self._bytes -= len(self._lines.popleft()) + 1
            if not self._lines:
                self._path.unlink(missing_ok=True)
                self._bytes = 0


class HeadsFile:
    """JSON lines of signed heads, appended and flushed to the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def add(self, head: Head) -> None:
        with open(self._path, "ab", opener=_private) as file:
            file.write(orjson.dumps(head.to_json()) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def read(self, tenant: str) -> list[Head]:
        if not self._path.exists():
            return []
        entries = [orjson.loads(line) for line in self._path.read_bytes().splitlines() if line]
        return [Head.from_json(entry) for entry in entries if entry.get("tenant") == tenant]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
