"""The restorer puts the caller's values back into one stream of text.

One restorer serves one choice and field of an answer. It holds back the longest suffix that could still become an issued token, and
nothing else, so that about one chunk goes out for each that comes in. The outcome does not depend on how the text is cut. Each
character is walked once for each place where a token could begin, at most the length of the longest token.
It does NOT look for personal data: see answer_scan.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.pii.restore import Lexicon, NeedMore

_LOOK_BACK = 24  # characters before a match that decide about it


class Piece(NamedTuple):
    """A stretch of output; `restored` says that it is the caller's own value."""

    text: str
    restored: bool


class StreamRestorer:
    """Feed it text; it gives output pieces. `restored` and `unresolved` count what was found."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._held = ""
        self._before = ""
        self.restored = 0
        self.unresolved = 0

    def feed(self, text: str) -> list[Piece]:
        """What can go out now."""
        return self._advance(self._held + text, final=False)

    def finish(self) -> list[Piece]:
        """The rest. The restorer may then be fed a new text."""
        pieces = self._advance(self._held, final=True)
        self._before = ""
        return pieces

    def _advance(self, text: str, *, final: bool) -> list[Piece]:
        anchor = self._lexicon.anchor
        pieces: list[Piece] = []
        plain, at = 0, 0  # text[plain:at] is not a token
        length = len(text)
        while anchor is not None and at < length:
            place = anchor.search(text, at)
            if place is None:
                break
            start = place.start()
            before = text[max(start - _LOOK_BACK, 0) : start] if start >= _LOOK_BACK else self._before + text[:start]
            found = self._lexicon.match(text, start, before, final)
            if isinstance(found, NeedMore):
                length = start
                break
            if found is None:
                at = start + 1
                continue
            if found.value is None:
                self.unresolved += 1
            else:
                if start > plain:
                    pieces.append(Piece(text[plain:start], False))
                pieces.append(Piece(found.value, True))
                self.restored += 1
                plain = found.end
            at = found.end
        if length > plain:
            pieces.append(Piece(text[plain:length], False))
        self._held = text[length:]
        self._before = (self._before + text[:length])[-_LOOK_BACK:] if length < _LOOK_BACK else text[length - _LOOK_BACK : length]
        return pieces


def restore(text: str, lexicon: Lexicon) -> str:
    """A whole text restored."""
    restorer = StreamRestorer(lexicon)
    return "".join(piece.text for piece in restorer.feed(text) + restorer.finish())
