"""The answer's filter restores the caller's values in one field of an answer, then masks what was never the caller's.

It stands in the restore stage: one filter for each choice and field. `AnswerRules` is built once a request and shared. A field that
holds a JSON text (tool-call arguments) is filtered string by string, and what is put in is escaped at the depth where it stands: a
string that itself holds JSON is opened again, down to four levels. On a route under differential privacy nothing is restored and the scan
does not look at the request, so that the output stays a function of the mechanism's output alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.errors import DetectorFailed
from gateway.exchange import IssuedValue, Span
from gateway.pii.answer_patterns import find_patterns
from gateway.pii.answer_scan import AnswerScan, ScanRule
from gateway.pii.json_strings import JsonStrings, encoded
from gateway.pii.restore import IssuedValues, Lexicon, fold
from gateway.pii.stream_restore import Piece, StreamRestorer
from gateway.ports import Detector
from policies.schema import Policy

_DEEPEST = 4  # levels of JSON within JSON
_TAG_LIKE = re.compile(r"<[A-Z][A-Z0-9_]{2,63}(?:_[A-Za-z0-9]{1,8})?>")
_NUMBER = re.compile(r"-?[0-9][0-9.eE+\-]*")
_OPEN_NUMBER = re.compile(r"-?[0-9][0-9.eE+\-]*$|-$")
_SEARCHED_DIGITS = 9  # a number literal with fewer is not searched


class AnswerRules:
    """What every filter of one request shares.

    `caller_texts` are the request's texts before replacing: a value that stands there is the caller's own. `private_output` says
    that the route claims differential privacy: then neither they nor `issued` are used. `detector` is needed where the policy
    scans by `ner`; `tenant` is whose roster then counts. A roster may hold the people whose privacy is claimed, so that a
    private output is searched without it.
    """

    def __init__(
        self,
        policy: Policy,
        issued: Sequence[IssuedValue],
        caller_texts: Sequence[str],
        *,
        detector: Detector | None = None,
        find: Callable[[str], Sequence[Span]] = find_patterns,
        tenant: str | None = None,
        private_output: bool = False,
    ) -> None:
        if policy.response.scan == "ner" and detector is None:
            raise ValueError("the policy scans answers by ner, which needs a detector")
        if private_output or not policy.response.restore:
            self.lexicon = Lexicon(())
        else:
            self.lexicon = issued.lexicon if isinstance(issued, IssuedValues) else Lexicon(issued)
        self.scan: ScanRule | None = None
        if policy.response.scan != "off":
            caller_text = "" if private_output else fold("\n".join(caller_texts))

            async def by_patterns(text: str) -> Sequence[Span]:
                return find(text)

            async def by_detector(text: str) -> Sequence[Span]:
                assert detector is not None
                try:
                    return (await detector.detect([text], policy, tenant=None if private_output else tenant))[0]
                except DetectorFailed:
                    if policy.on_failure.answer_scan == "stop":
                        raise
                    return find(text)

            sentences = policy.response.scan == "ner"
            self.scan = ScanRule(by_detector if sentences else by_patterns, sentences, policy, caller_text)


@dataclass(slots=True)
class AnswerCounts:
    """What was found in one field.

    The filter's parts hold this and not the filter: a cycle of references would keep the lexicon of every answer that
    is over in memory until a full garbage collection, which is rare here.
    """

    restored: int = 0
    unresolved: int = 0
    masked: Counter[str] = field(default_factory=Counter)  # by entity


class AnswerFilter:
    """The filter of one field; `counts` are final after `finish`.

    `feed` and `finish` raise PolicyRefusal where the response rule blocks, DetectorFailed where the detector fails.
    """

    def __init__(self, rules: AnswerRules, *, json_text: bool = False) -> None:
        self.counts = AnswerCounts()
        self._filter: _Plain | _Json = _Json(rules, self.counts, 1) if json_text else _Plain(rules, self.counts)

    async def feed(self, piece: str) -> str:
        """What of the answer can go out after this piece of it."""
        return await self._filter.feed(piece)

    async def finish(self) -> str:
        """What was held back; call it before `finish_reason` goes out."""
        return await self._filter.finish()

    async def whole(self, text: str) -> str:
        """A whole field at once: the same as in pieces."""
        return await self.feed(text) + await self.finish()


class _Plain:
    """Restore, then scan."""

    def __init__(self, rules: AnswerRules, counts: AnswerCounts) -> None:
        self._restorer = StreamRestorer(rules.lexicon)
        self._scan = AnswerScan(rules.scan) if rules.scan else None
        self._counts = counts
        self._tags = _TagCount()

    async def feed(self, text: str) -> str:
        pieces = self._restorer.feed(text)
        self._tags.feed("".join(piece.text for piece in pieces if not piece.restored))
        if self._scan is None:
            return "".join(piece.text for piece in pieces)
        return await self._scan.feed(pieces)

    async def finish(self) -> str:
        pieces = self._restorer.finish()
        self._tags.feed("".join(piece.text for piece in pieces if not piece.restored))
        if self._scan is None:
            out = "".join(piece.text for piece in pieces)
        else:
            out = await self._scan.feed(pieces) + await self._scan.finish()
            self._counts.masked += self._scan.masked
            self._scan.masked = Counter()
        self._counts.restored += self._restorer.restored
        self._counts.unresolved += self._restorer.unresolved + self._tags.count
        self._restorer.restored = self._restorer.unresolved = self._tags.count = 0
        return out


class _TagCount:
    """Counts what looks like a placeholder and was left in the output, also when it comes in pieces."""

    def __init__(self) -> None:
        self._tail = ""
        self.count = 0

    def feed(self, text: str) -> None:
        text = self._tail + text
        end = 0
        for match in _TAG_LIKE.finditer(text):
            self.count += 1
            end = match.end()
        open_at = text.rfind("<", end)
        self._tail = text[open_at:] if open_at >= 0 and len(text) - open_at < 80 else ""


class _Json:
    """A JSON text: each string is filtered by itself, decoded and encoded again."""

    def __init__(self, rules: AnswerRules, counts: AnswerCounts, depth: int) -> None:
        self._rules = rules
        self._counts = counts
        self._depth = depth
        self._lexer = JsonStrings()
        self._content: _Plain | _Json | None = None
        self._number = ""  # a number literal that may go on
        self._blank = ""  # white space at the beginning of a string, before it is known whether it holds JSON

    async def feed(self, text: str) -> str:
        out = []
        for part in self._lexer.feed(text):
            if part.kind == "content":
                out.append(encoded(await self._inside(part.text)))
            elif part.kind == "outside":
                literal = self._number + part.text
                open_number = _OPEN_NUMBER.search(literal)
                self._number = open_number[0] if open_number else ""
                out.append(await self._numbers(literal[: len(literal) - len(self._number)]))
            elif part.kind == "open":
                out.append(await self._numbers(self._take_number()) + part.text)
            else:
                out.append(await self._flush() + part.text)
        return "".join(out)

    async def finish(self) -> str:
        out = "".join([part.text for part in self._lexer.finish()])
        return await self._flush() + out + await self._numbers(self._take_number())

    def _take_number(self) -> str:
        number, self._number = self._number, ""
        return number

    async def _numbers(self, text: str) -> str:
        """Text outside strings with its number literals restored or, where they are somebody's number, made 0."""
        out, at = [], 0
        for match in _NUMBER.finditer(text):
            literal = match[0]
            value = self._rules.lexicon.numbers.get(literal)
            if value is not None:
                self._counts.restored += 1
            elif self._rules.scan is not None and sum(ch.isdigit() for ch in literal) >= _SEARCHED_DIGITS:
                scan = AnswerScan(self._rules.scan)
                masked = await scan.feed([Piece(literal, False)]) + await scan.finish()
                self._counts.masked += scan.masked
                value = "0" if masked != literal else literal
            out.append(text[at : match.start()] + (literal if value is None else value))
            at = match.end()
        return "".join(out) + text[at:]

    async def _inside(self, text: str) -> str:
        if self._content is None:
            text = self._blank + text
            self._blank = ""
            start = text.lstrip(" \t\r\n")
            if not start:
                self._blank = text
                return ""
            holds_json = start[0] in "{[" and self._depth < _DEEPEST
            self._content = _Json(self._rules, self._counts, self._depth + 1) if holds_json else _Plain(self._rules, self._counts)
        return await self._content.feed(text)

    async def _flush(self) -> str:
        rest, self._blank = self._blank, ""
        if self._content is not None:
            rest += await self._content.finish()
            self._content = None
        return encoded(rest)
