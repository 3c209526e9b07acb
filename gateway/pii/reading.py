"""One text as recognizers see it: its code points, its UTF-8 bytes, the map between both, what the language models named.

A `Reading` is made once per text and passed to every recognizer as Presidio's NLP artifacts. It lives in memory for one
detection and must never be logged: it holds the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import re2
from presidio_analyzer.nlp_engine import NlpArtifacts


@dataclass(frozen=True, slots=True)
class Named:
    """A name that a language model found: code points [start, end), the entity type and a score from 0 to 1."""

    start: int
    end: int
    entity: str
    score: float


@dataclass(frozen=True, slots=True)
class Found:
    """A pattern's match in code points. `value` is the matched text and stays out of every repr."""

    start: int
    end: int

    def shifted(self, by: int) -> Found:
        return Found(self.start + by, self.end + by)


# A line break or tab that is written out, as in a log line or source code ("Elm St\nDover"); a Windows path (C:\new, \\nas\home) has none.
_WRITTEN_BREAK = re.compile(r"(?P<path>(?:(?<![^\W\d_])[A-Za-z]:|(?:^|(?<=[\s\"']))\\\\[\w.-]{1,64})\\[^\s\"']*)|\\+[nrt]")


def breaks_as_white_space(text: str) -> str:
    """The text with each written-out break as blanks and one line break (a blank for a tab), at the same length."""
    return _WRITTEN_BREAK.sub(_blank, text) if "\\" in text else text


def _blank(match: re.Match[str]) -> str:
    if match["path"] is not None:
        return match[0]
    return " " * (len(match[0]) - 1) + (" " if match[0].endswith("t") else "\n")


class Reading(NlpArtifacts):
    """A text, its bytes for RE2, and the names found in it. Written-out line breaks are white space here; not so in `verbatim`."""

    def __init__(self, text: str, named: tuple[Named, ...] = (), verbatim: bool = False) -> None:
        # No recognizer here reads Presidio's tokens, so none are made.
        super().__init__(entities=[], tokens=[], tokens_indices=[], lemmas=[], nlp_engine=None, language="en")  # type: ignore[arg-type]
        # A lone surrogate has no UTF-8 form; '?' keeps the count of code points, and with it every offset.
        self._written = text
        self.utf8 = (text if verbatim else breaks_as_white_space(text)).encode("utf-8", "replace")
        self.text = self.utf8.decode("utf-8")
        self.ascii = len(self.utf8) == len(self.text)
        self.named = named

    def __repr__(self) -> str:
        return f"Reading({len(self.text)} code points)"

    @cached_property
    def verbatim(self) -> Reading:
        """The text as it is written, for what may hold a backslash: passwords, a policy's own patterns."""
        return Reading(self._written, self.named, verbatim=True) if "\\" in self._written else self

    @cached_property
    def _code_point_at(self) -> npt.NDArray[np.int64]:
        """For each byte offset (and one past the end), how many code points begin before it."""
        heads = (np.frombuffer(self.utf8, dtype=np.uint8) & 0xC0) != 0x80
        return np.concatenate(([0], np.cumsum(heads)))

    @cached_property
    def _byte_at(self) -> npt.NDArray[np.int64]:
        """For each code point (and one past the end), the offset of its first byte."""
        heads = np.flatnonzero((np.frombuffer(self.utf8, dtype=np.uint8) & 0xC0) != 0x80)
        return np.concatenate((heads, [len(self.utf8)]))

    def matches(self, pattern: re2._Regexp, group: int = 0) -> Iterator[Found]:
        """The non-overlapping matches of a bytes pattern, as code-point spans of `group`; unmatched groups are skipped."""
        for match in pattern.finditer(self.utf8):
            start, end = match.span(group)
            if start < 0 or start == end:
                continue
            if self.ascii:
                yield Found(start, end)
            else:
                yield Found(int(self._code_point_at[start]), int(self._code_point_at[end]))

    def has(self, pattern: re2._Regexp, start: int, end: int) -> bool:
        """Whether the pattern matches somewhere inside code points [start, end), cut to the text."""
        start, end = max(0, start), min(len(self.text), end)
        if not self.ascii:
            start, end = int(self._byte_at[start]), int(self._byte_at[end])
        return pattern.search(self.utf8[start:end]) is not None


def compile_pattern(regex: str) -> re2._Regexp:
    """Compile RE2 syntax over UTF-8 bytes. RE2 matches in time linear in the text, whatever the pattern.

    Raises:
        ValueError: RE2 refuses the expression (its message quotes the expression, which is policy, not a text).
    """
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 8 << 20
    try:
        return re2.compile(regex.encode("utf-8"), options)
    except re2.error as error:
        raise ValueError(f"not a valid RE2 expression: {regex!r} ({error}); look-around and back-references don't exist in RE2") from None
