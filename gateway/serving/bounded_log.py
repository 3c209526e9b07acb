"""A child's output in a file of bounded size: at the limit the file becomes `NAME.log.1` in place of its predecessor.

What the children write is their own business: this keeps the bytes as they come, readable by this user only.
"""

from __future__ import annotations

import os
from pathlib import Path

MAX_BYTES = 4 * 2**20


class BoundedLog:
    """At most `max_bytes` in the file and as much in its predecessor."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self.max_bytes = max_bytes
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._open()

    def _open(self) -> None:
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._descriptor).st_size

    def write(self, data: bytes) -> None:
        if self._size and self._size + len(data) > self.max_bytes:
            os.close(self._descriptor)
            self.path.replace(self.path.with_name(self.path.name + ".1"))
            self._open()
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view)
            self._size += written
            view = view[written:]

    def close(self) -> None:
        os.close(self._descriptor)


def last_lines(path: Path, count: int = 15) -> str:
    """The end of a log, for the message about a child that failed; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 64 * 1024))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-count:])
    except FileNotFoundError:
        return ""
