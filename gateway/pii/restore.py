"""The lexicon matches issued tokens in an answer, exactly first, else by a strict grammar.

It stands under the streaming restorer. A token matches at a place when the text there is the token, code point for code point.
Where it is not, the text may differ from the token in these ways only, and only if exactly one issued value fits:
letter case; runs of white space for a space; typographic dashes, apostrophes; a Markdown backslash before punctuation; the
brackets of a placeholder lost, or HTML-escaped, or its underscore a space; the grouping of a long number lost. There is no edit distance:
it restores the wrong person. Letters and digits must not touch a match (Han characters may). A part of a surrogate name stands for the
same part of the real name, where no other name has that part and no further capitalised name stands beside it.

It does NOT restore what the model paraphrases, declines or translates; the unresolved are counted.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal

from gateway.exchange import IssuedValue
from gateway.pii.surrogates import PERSON_ENTITIES
from gateway.pii.surrogates.name_lists import PARTICLES, TITLES

_SPACES = re.compile(r"\s+")
_LONGEST_SPACE = 4  # a run of white space longer than this is no space of a token
_FOLDED = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "‐": "-", "‑": "-", "‒": "-", "–": "-", "−": "-", "\u00a0": " ", "\u202f": " "})
_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_NAME_PART = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_LEAST_GROUPED_DIGITS = 9
_WORD_BEFORE = re.compile(r"([^\W\d_]+)\.? $")
_BEFORE_A_SURNAME = TITLES | frozenset(
    {"dear", "hi", "hello", "hey", "thanks", "sincerely", "regards", "patient", "client", "family", "and", "the"}
)
_JSON_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")


class NeedMore:
    """The answer of `match` where the text ends before the match is decided."""


NEED_MORE: Final = NeedMore()


@dataclass(frozen=True, slots=True)
class Match:
    """text[start:end) stands for `value`; None where several values fit (then the text stays)."""

    start: int
    end: int
    value: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Form:
    """One way to write a token: `exact` text, or folded; or a part of a name."""

    text: str
    value: str
    kind: Literal["exact", "folded", "given", "surname"]


class _Node:
    __slots__ = ("children", "forms")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.forms: Sequence[_Form] = ()  # most nodes have none, and a request makes hundreds of nodes


def fold(text: str) -> str:
    """Case and typography folded, code point by code point (lengths stay)."""
    if text.isascii():
        return text.lower()
    return "".join(low if len(low := ch.lower()) == 1 else ch for ch in text.translate(_FOLDED))


def touches(left: str, right: str) -> bool:
    """Whether two neighbouring characters belong to one word: both letters, digits, marks or underscores, neither of them Han or kana."""
    return _wordlike(left) and _wordlike(right)


def _wordlike(ch: str) -> bool:
    if ch < "\x80":
        return ch.isalnum() or ch == "_"
    if "\u2e80" <= ch <= "\u9fff" or "\uf900" <= ch <= "\ufaff" or "\U00020000" <= ch <= "\U0003ffff":
        return False
    return ch.isalnum() or unicodedata.category(ch)[0] == "M"


class Lexicon:
    """The issued tokens of one request. Build once, share among the choices and fields of its answer."""

    def __init__(self, issued: Iterable[IssuedValue]) -> None:
        self._root = _Node()
        self._starts: set[str] = set()
        self._longest_space = _LONGEST_SPACE
        values = list(issued)
        for one in values:
            for form in _forms(one):
                self._add(form)
        for form in _name_parts(values):
            self._add(form)
        self.numbers = {one.token: one.value for one in values if _JSON_INTEGER.fullmatch(one.token) and _JSON_INTEGER.fullmatch(one.value)}
        starts = {first for ch in self._root.children for first in (ch, ch.upper(), ch.title())}
        starts |= self._starts | _unfolded(self._root.children)
        if starts & {"<", "&"}:
            starts.add("\\")
        self.anchor = re.compile("[" + re.escape("".join(sorted(first for first in starts if len(first) == 1))) + "]") if starts else None

    def match(self, text: str, start: int, before: str, final: bool) -> Match | NeedMore | None:
        """The longest match that begins at `start`; `before` is the text before it, as far as the last word ("" at the beginning).

        NEED_MORE where more text could change the answer and `final` is False.
        """
        escaped = text[start] == "\\"
        at = start + 1 if escaped else start
        if escaped and at >= len(text):
            return None if final else NEED_MORE
        node: _Node | None = self._root
        best: Match | None = None
        length = len(text)
        last_escaped = False
        while node is not None:
            if node.forms and (last_escaped or not escaped):
                found = self._accept(node, text, start, at, before, final)
                if isinstance(found, NeedMore):
                    return found
                best = found or best
            if not node.children:
                break
            if at >= length:
                if not final:
                    return NEED_MORE
                break
            ch = text[at]
            last_escaped = False
            if ch.isspace():
                if " " not in node.children:
                    break
                end = at
                while end < length and text[end].isspace() and end - at < self._longest_space:
                    end += 1
                if end >= length and not final:
                    return NEED_MORE
                node, at = node.children[" "], end
                continue
            following = node.children.get(ch) or node.children.get(fold(ch))  # most characters are folded already
            if following is None and ch == "\\":
                if at + 1 >= length:
                    if not final:
                        return NEED_MORE
                    break
                if text[at + 1] in _PUNCTUATION:
                    following = node.children.get(fold(text[at + 1]))
                    at, last_escaped = at + 1, True
            node, at = following, at + 1
        return best

    def _accept(self, node: _Node, text: str, start: int, end: int, before: str, final: bool) -> Match | NeedMore | None:
        """Whether the forms that end here make a match, given the characters on both sides."""
        first, last = text[start], text[end - 1]
        if before and touches(before[-1], first):
            return None
        if _wordlike(last):
            if end >= len(text):
                if not final:
                    return NEED_MORE
            elif touches(last, text[end]):
                return None
        written = text[start:end]
        exact = next((form for form in node.forms if form.kind == "exact" and form.text == written), None)
        if exact is not None:
            return Match(start, end, exact.value)
        part = next((form for form in node.forms if form.kind in ("given", "surname") and form.text == written), None)
        if part is not None:
            # A part beside another capitalised word is somebody else's name: "Astrid Lund", "Peter Talbot".
            ahead = text[end : end + 2]
            if len(ahead) < 2 and not final and (not ahead or ahead == " "):
                return NEED_MORE
            alone = not (len(ahead) == 2 and ahead[0] == " " and ahead[1].isupper())
            if part.kind == "surname":
                word = _WORD_BEFORE.search(before)
                alone = alone and (word is None or not word[1][0].isupper() or word[1].casefold() in _BEFORE_A_SURNAME)
            if alone:
                return Match(start, end, part.value)
        fitting = {form.value for form in node.forms if form.kind == "folded"}
        if not fitting:
            return None
        return Match(start, end, fitting.pop() if len(fitting) == 1 else None)

    def _add(self, form: _Form) -> None:
        node = self._root
        self._starts.add(form.text[0])
        for run in _SPACES.findall(form.text):
            self._longest_space = max(self._longest_space, len(run))
        for ch in _SPACES.sub(" ", fold(form.text)):
            following = node.children.get(ch)
            if following is None:
                following = node.children[ch] = _Node()
            node = following
        if form not in node.forms:
            node.forms = [*node.forms, form]


class IssuedValues(tuple[IssuedValue, ...]):
    """The issued values of one request and their lexicon, built once for the check of the request and the answer."""

    @cached_property
    def lexicon(self) -> Lexicon:
        return Lexicon(self)


def _unfolded(children: Iterable[str]) -> set[str]:
    return {chr(source) for source, target in _FOLDED.items() if target in children}


def _forms(one: IssuedValue) -> Iterable[_Form]:
    token, value = one.token, one.value
    yield _Form(token, value, "exact")
    if token.startswith("<") and token.endswith(">") and one.kind != "surrogate":
        inner = token[1:-1]
        names = {inner, inner.replace("_", " ")} if one.kind == "placeholder" else {inner}
        for name in sorted(names):
            for text in (name, f"<{name}>", f"<{name}", f"{name}>", f"&lt;{name}&gt;"):
                yield _Form(text, value, "folded")
        return
    if len(token) >= 4:
        yield _Form(token, value, "folded")
    digits = "".join(ch for ch in token if ch.isdigit())
    if len(digits) >= _LEAST_GROUPED_DIGITS and not any(ch.isalpha() for ch in token) and digits != token:
        yield _Form(digits, value, "folded")


def _name_parts(issued: Sequence[IssuedValue]) -> list[_Form]:
    """Parts of surrogate names with the same part of the real name, where every name that has the part agrees."""
    parts: dict[str, _Form | None] = {}
    whole = {one.token for one in issued}
    for one in issued:
        if one.entity not in PERSON_ENTITIES or one.kind != "surrogate":
            continue
        new, old = _NAME_PART.findall(one.token), _NAME_PART.findall(one.value)
        if len(new) != len(old) or len(new) < 2:
            continue
        for index, (token, value) in enumerate(zip(new, old, strict=True)):
            if len(token) < 3 or value.casefold() in TITLES or value.casefold() in PARTICLES or token == value or token in whole:
                continue
            form = _Form(token, value, "surname" if index == len(new) - 1 else "given")
            earlier = parts.setdefault(token, form)
            if earlier is not None and earlier.value != value:
                parts[token] = None
    return [form for form in parts.values() if form is not None]
