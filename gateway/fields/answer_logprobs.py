"""Releases the logprobs of a streamed choice in step with its text.

A logprob names its token, so it may go out only with the text that it belongs to, and only while that text goes out as the model wrote it.
Once the filter has changed a word (something personal was masked), no more logprobs of this choice are released. Requests in which
values were replaced never get here with logprobs: `stages.scrub` refuses them. The alternatives of a token (`top_logprobs`) are single
pieces and are not scanned.
"""

from __future__ import annotations

from typing import Any

from gateway.exchange import Json


class LogprobGate:
    """One choice. Call `pass_on` for each chunk, in order, from the first chunk that has logprobs."""

    def __init__(self) -> None:
        self._held_text = ""
        self._pending: list[tuple[int, Json]] = []  # characters of held text up to the end of the piece, its logprobs
        self._changed = False

    def pass_on(self, came: str, went: str, logprobs: Json | None) -> Json | None:
        """The logprobs to release beside `went`, when `came` arrived beside `logprobs`."""
        if self._changed:
            return None
        self._held_text += came
        if logprobs:
            self._pending.append((len(self._held_text), logprobs))
        if not self._held_text.startswith(went):
            self._changed = True
            self._pending.clear()
            return None
        self._held_text = self._held_text[len(went) :]
        self._pending = [(end - len(went), each) for end, each in self._pending]
        released = [each for end, each in self._pending if end <= 0]
        self._pending = [(end, each) for end, each in self._pending if end > 0]
        return _joined(released) if released else None


def _joined(parts: list[Json]) -> Json:
    joined: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            joined[name] = [*joined[name], *value] if isinstance(value, list) and isinstance(joined.get(name), list) else value
    return joined
