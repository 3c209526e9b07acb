"""A lexer that tells the strings of a JSON text from the rest, as it streams.

Tool-call arguments are a JSON text; what is restored in one of its strings must be escaped there. The lexer gives the content of each
string decoded, so that a filter sees plain characters; `encoded` puts it back. A backslash sequence that is no JSON escape stays as
it is. It does NOT check that the text is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Literal, NamedTuple

_SIMPLE = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HEX = frozenset("0123456789abcdefABCDEF")


class Part(NamedTuple):
    """`outside`: text outside strings; `content`: decoded characters; `raw`: an escape that is none; `open`, `close`: a quote."""

    kind: Literal["outside", "content", "raw", "open", "close"]
    text: str


def encoded(text: str) -> str:
    """`text` as it stands between the quotes of a JSON string. Non-ASCII characters stay, except lone surrogates."""
    body = json.dumps(text, ensure_ascii=False)[1:-1]
    if any("\ud800" <= ch <= "\udfff" for ch in body):
        body = "".join(f"\\u{ord(ch):04x}" if "\ud800" <= ch <= "\udfff" else ch for ch in body)
    return body


class JsonStrings:
    """Feed it JSON text; it gives parts. An escape that is not complete is held back."""

    def __init__(self) -> None:
        self._inside = False
        self._held = ""

    def feed(self, text: str) -> Iterator[Part]:
        text = self._held + text
        self._held = ""
        at, length = 0, len(text)
        while at < length:
            if not self._inside:
                quote = text.find('"', at)
                stop = length if quote < 0 else quote
                if stop > at:
                    yield Part("outside", text[at:stop])
                if quote < 0:
                    return
                self._inside = True
                yield Part("open", '"')
                at = quote + 1
                continue
            stop = at
            while stop < length and text[stop] not in '"\\':
                stop += 1
            if stop > at:
                yield Part("content", text[at:stop])
            if stop >= length:
                return
            if text[stop] == '"':
                self._inside = False
                yield Part("close", '"')
                at = stop + 1
                continue
            size = _escape_size(text, stop)
            if size is None:
                self._held = text[stop:]
                return
            yield _decoded(text[stop : stop + size])
            at = stop + size

    def finish(self) -> Iterator[Part]:
        """What was held back."""
        if self._held:
            yield Part("raw", self._held)
        self._held, self._inside = "", False


def _escape_size(text: str, at: int) -> int | None:
    """The length of the escape at `at`; a pair of surrogates counts as one. None where it is not complete."""
    if at + 1 >= len(text):
        return None
    if text[at + 1] != "u":
        return 2
    digits = text[at + 2 : at + 6]
    if not set(digits) <= _HEX:
        return 2
    if len(digits) < 4:
        return None
    if 0xD800 <= int(digits, 16) <= 0xDBFF:
        rest = text[at + 6 : at + 12]
        if len(rest) < 6 and "\\u".startswith(rest[:2]) and set(rest[2:]) <= _HEX:
            return None
        if rest[:2] == "\\u" and set(rest[2:]) <= _HEX and 0xDC00 <= int(rest[2:], 16) <= 0xDFFF:
            return 12
    return 6


def _decoded(escape: str) -> Part:
    if escape[1] == "u" and len(escape) > 2:
        return Part("content", json.loads(f'"{escape}"'))
    if escape[1] in _SIMPLE:
        return Part("content", _SIMPLE[escape[1]])
    return Part("raw", escape)
