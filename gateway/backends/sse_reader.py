"""Splits a model server's bytes into server-sent events.

Source: WHATWG HTML, section 9.2.6 (event stream interpretation). It works on bytes and never decodes a part of an event, so half a
UTF-8 character at the end of a network chunk is no special case. An event that outgrows the limit is an error, not memory.
Event ids and retry times are of no use here and are ignored.
"""

from __future__ import annotations

from gateway.errors import UpstreamFailed

MAX_EVENT_BYTES = 4 * 2**20


class SseReader:
    """Feed it bytes as they come; it gives the `data` of each event that is complete."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._rest = b""  # an unfinished line
        self._data: list[bytes] = []
        self._size = 0
        self._first = True
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Data of the events completed by `chunk`. Raises UpstreamFailed for an event over the limit."""
        if self._after_cr and chunk.startswith(b"\n"):  # the second half of a CR LF that was cut
            chunk, self._after_cr = chunk[1:], False
        if not chunk:
            return []
        self._after_cr = chunk.endswith(b"\r")
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        events = []
        for line in lines:
            if self._first:
                line = line.removeprefix(b"\xef\xbb\xbf")
                self._first = False
            if line:
                self._line(line)
            elif self._data:
                events.append(b"\n".join(self._data))
                self._data = []
                self._size = 0
        if len(self._rest) + self._size > self._max_event_bytes:
            raise UpstreamFailed("The model server sent an event that is too large; the answer was broken off.")
        return events

    def _line(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            value = value.removeprefix(b" ")
            self._size += len(value)
            if self._size > self._max_event_bytes:
                raise UpstreamFailed("The model server sent an event that is too large; the answer was broken off.")
            self._data.append(value)
