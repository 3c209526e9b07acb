"""Two files beside the store: outcomes that wait for it, and the heads that were signed.

The spool holds content-free outcome records while the store is away. The heads file is the copy of the signed heads that
somebody with the store alone can't cut; ship it elsewhere, and nobody on this machine can either.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import orjson

from gateway.audit.chain import Head
from gateway.errors import StoreUnavailable

MAX_SPOOL_BYTES = 64 * 1024 * 1024


class Spool:
    """JSON lines of outcomes, oldest first. The lines of one process: `adopting` gives each its own file, held by a lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._owned: int | None = None
        self._lines: deque[bytes] = deque()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists():
            self._lines.extend(line for line in path.read_bytes().splitlines() if line)
        self._bytes = sum(len(line) + 1 for line in self._lines)

    @classmethod
    def adopting(cls, directory: Path) -> Spool:
        """A spool of this process in `directory`, with the lines of every spool there whose process is gone."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        spool = cls(directory / f"spool-{secrets.token_hex(8)}.jsonl")
        spool._owned = _lock(spool._path.with_suffix(".lock"))
        for path in sorted(directory.glob("spool-*.jsonl")):
            lock_path = path.with_suffix(".lock")
            lock = None if path == spool._path else _lock(lock_path)
            if lock is None:
                continue
            spool._take_over(path)
            lock_path.unlink(missing_ok=True)
            os.close(lock)
        return spool

    def close(self) -> None:
        """Let another process adopt what is left."""
        if self._owned is not None:
            if not self._lines:
                self._path.with_suffix(".lock").unlink(missing_ok=True)
            os.close(self._owned)
            self._owned = None

    def _take_over(self, path: Path) -> None:
        """Copied and flushed before the old file goes: a crash in between leaves a line twice, never not at all."""
        with contextlib.suppress(FileNotFoundError):
            lines = [line for line in path.read_bytes().splitlines() if line]
            if lines:
                self._append(lines)
            path.unlink()

    def __len__(self) -> int:
        return len(self._lines)

    def keep(self, record: Mapping[str, object], must: bool) -> None:
        """Write a record and flush it to the disk. Past MAX_SPOOL_BYTES only what `must` be kept is. Raises StoreUnavailable."""
        line = orjson.dumps(record)
        with self._lock:
            if not must and self._bytes > MAX_SPOOL_BYTES:
                raise StoreUnavailable("The store is away and the audit's spool is full; nothing is served until it is back.")
            try:
                self._append([line])
            except OSError as failed:
                raise StoreUnavailable("The store is away and the audit's spool can't be written.") from failed

    def _append(self, lines: Sequence[bytes]) -> None:
        whole = b"".join(line + b"\n" for line in lines)
        with open(self._path, "ab", opener=_private) as file:
            file.write(whole)
            file.flush()
            os.fsync(file.fileno())
        self._lines.extend(lines)
        self._bytes += len(whole)

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
        """The heads of one tenant, the oldest first."""
        return [head for head in self._heads() if head.tenant == tenant]

    def tenants(self) -> set[str]:
        """Whose heads are here: their logs stood in the store once."""
        return {head.tenant for head in self._heads()}

    def _heads(self) -> Iterator[Head]:
        for line in self._path.read_bytes().splitlines() if self._path.exists() else ():
            with contextlib.suppress(ValueError, KeyError, TypeError):  # a line that a crash cut is no head
                yield Head.from_json(orjson.loads(line))


def _lock(path: Path) -> int | None:
    """A descriptor that holds the lock on `path` until it is closed; None where another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
