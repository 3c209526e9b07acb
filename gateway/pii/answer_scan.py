"""The scan masks personal data in an answer that was never the caller's.

It stands after the restorer. Text is held back in segments whose limits depend on the text alone, never on how it was cut into chunks:
  - patterns: a word without a digit, an at-sign or unusual length goes out when it ends. One with such a sign holds the text from
    there until four plain words follow, or 256 characters (8,192 for a private key's block or a JSON web token);
  - ner: a sentence, or 400 characters.
A segment is searched with what went out just before it as context; what is found is masked, unless it was restored, or the caller's own
text has it. It does NOT find what the finder misses, nor data that is spread over more than one segment.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from gateway.errors import PolicyRefusal
from gateway.exchange import Span
from gateway.pii import operators
from gateway.pii.restore import fold
from gateway.pii.stream_restore import Piece
from policies.schema import Action, Policy

_HAN = "\u2e80-\u9fff\uf900-\uffef"
_CONTEXT = 48  # characters that went out and are searched again as context
_WORD_LIMIT = 512
_HOLD_LIMIT = 256
_KEY_LIMIT = 8192  # a private key's block
_QUIET_WORDS = 4
_SENTENCE_LIMIT = 400
_BREAK = re.compile(rf"\s|[{_HAN}]")
_SIGN = re.compile(r"[0-9@＠]|://|-----|eyJ|\S{20}")
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s|[。！？\n]")
_SPACE = re.compile(r"\s")
_KEY_OPEN = "-----BEGIN "
_KEY_CLOSE = re.compile(r"-----END [A-Z0-9 ]{0,40}-----")
_JWT_OPEN = "eyJ"  # a JSON web token is one word, and often a long one

Finder = Callable[[str], Awaitable[Sequence[Span]]]


@dataclass(frozen=True)
class ScanRule:
    """What a scan of one request knows: how to find, what to do, what the caller's own text is (folded; "" on a route under
    differential privacy, where the output must not depend on the request)."""

    find: Finder
    sentences: bool
    policy: Policy
    caller_text: str = field(repr=False)


class AnswerScan:
    """The scan of one stream. `masked` counts by entity."""

    def __init__(self, rule: ScanRule) -> None:
        self._rule = rule
        self._context = ""
        self._held = ""
        self._own: list[tuple[int, int]] = []  # [start, end) of restored values in _held
        self._seen = 0  # _held[:_seen] has been looked at for segment limits
        self._word = 0  # where the word in progress begins
        self._hot = False
        self._quiet = 0
        self.masked: Counter[str] = Counter()

    async def feed(self, pieces: Iterable[Piece]) -> str:
        """What can go out now. Raises PolicyRefusal where the rule's action is `block`."""
        for piece in pieces:
            if piece.restored:
                self._own.append((len(self._held), len(self._held) + len(piece.text)))
            self._held += piece.text
        return await (self._by_sentences() if self._rule.sentences else self._by_words())

    async def finish(self) -> str:
        """The rest."""
        rest = await self._release(len(self._held), search=self._rule.sentences or self._hot or bool(_SIGN.search(self._held)))
        self._context, self._seen, self._word, self._hot, self._quiet = "", 0, 0, False, 0
        return rest

    async def _by_words(self) -> str:
        out = []
        safe = 0  # _held[:safe] is plain and may go out unsearched
        while True:
            found = _BREAK.search(self._held, self._seen)
            end = found.end() if found else 0
            limit = _KEY_LIMIT if _JWT_OPEN in self._held[self._word : self._word + _WORD_LIMIT] else _WORD_LIMIT
            if not found or end - self._word > limit:
                if len(self._held) - self._word < limit:
                    self._seen = len(self._held)
                    break
                end = self._word + limit
            if _SIGN.search(self._held, self._word, end):
                self._hot, self._quiet = True, 0
            elif self._hot:
                self._quiet += end - self._word > 1
            self._word = self._seen = end
            if not self._hot:
                safe = end
                continue
            if safe:
                out.append(await self._release(safe, search=False))
                safe = 0
            if self._quiet >= _QUIET_WORDS:
                out.append(await self._release(self._word, search=True))
                self._hot, self._quiet = False, 0
            elif self._word > (_KEY_LIMIT if self._in_key() else _HOLD_LIMIT):
                out.append(await self._release(self._word, search=True, keep=_HOLD_LIMIT // 2))
        if safe:
            out.append(await self._release(safe, search=False))
        return "".join(out)

    async def _by_sentences(self) -> str:
        out = []
        while True:
            found = _SENTENCE_END.search(self._held, self._seen)
            end = found.end() if found else 0
            if not found or end > _SENTENCE_LIMIT:
                if len(self._held) < _SENTENCE_LIMIT:
                    self._seen = max(len(self._held) - 1, 0)
                    break
                spaces = [match.end() for match in _SPACE.finditer(self._held, _SENTENCE_LIMIT // 2, _SENTENCE_LIMIT)]
                end = spaces[-1] if spaces else _SENTENCE_LIMIT
            out.append(await self._release(end, search=True))
            self._seen = 0
        return "".join(out)

    def _in_key(self) -> bool:
        """Whether a private key's block is open in what was looked at (what came after it must not count: it may come later)."""
        opened = self._held.rfind(_KEY_OPEN, 0, self._word)
        return opened >= 0 and _KEY_CLOSE.search(self._held, opened, self._word) is None

    async def _release(self, end: int, *, search: bool, keep: int = 0) -> str:
        """Let _held[:end) go, masked; with `keep`, leave the last that many characters before `end`, and no value cut."""
        segment = self._held[:end]
        out = segment
        if search and segment:
            offset = len(self._context)
            spans = [
                (max(span.start - offset, 0), span.end - offset, span.entity)
                for span in await self._rule.find(self._context + segment)
                if span.end > offset
            ]
            if keep:
                end = max(end - keep, 1)
                for start, stop, _ in spans:
                    if start < end < stop:
                        end = start or stop
                segment = self._held[:end]
            out = self._mask(segment, [span for span in spans if span[1] <= end])
        self._context = (self._context + segment)[-_CONTEXT:]
        self._held = self._held[end:]
        self._seen, self._word = max(self._seen - end, 0), max(self._word - end, 0)
        self._own = [(start - end, stop - end) for start, stop in self._own if stop > end]
        return out

    def _mask(self, segment: str, spans: Sequence[tuple[int, int, str]]) -> str:
        for start, stop, entity in reversed(spans):
            if not self._concerns(entity) or self._callers(segment, start, stop):
                continue
            self.masked[entity] += 1
            action = self._rule.policy.response.action
            if action == "block":
                raise PolicyRefusal(f"the answer holds {entity} that the policy {self._rule.policy.id!r} does not let out")
            for left, right in reversed(self._foreign(start, stop)):
                value = segment[left:right]
                new = operators.mask(value) if action == "mask" else operators.redact(value) if action == "redact" else f"<{entity}>"
                segment = segment[:left] + new + segment[right:]
        return segment

    def _concerns(self, entity: str) -> bool:
        entities = self._rule.policy.entities
        return not entities or (entity in entities and entities[entity].action is not Action.ALLOW)

    def _callers(self, segment: str, start: int, stop: int) -> bool:
        own = sum(max(min(stop, right) - max(start, left), 0) for left, right in self._own)
        return 2 * own >= stop - start or fold(segment[start:stop]) in self._rule.caller_text

    def _foreign(self, start: int, stop: int) -> list[tuple[int, int]]:
        """[start, stop) without what was restored."""
        parts, at = [], start
        for left, right in self._own:
            if right <= at or left >= stop:
                continue
            if left > at:
                parts.append((at, left))
            at = right
        if at < stop:
            parts.append((at, stop))
        return parts
