"""The text leaves of one JSON body: collected in order, then filled with what replaces them.

`gateway.fields.kinds` adds leaves while it copies a body; `stages.scrub` takes `detection_texts`, has spans found and replaced, then calls
`fill`. A leaf inside a JSON object carries its key as context ("ssn: "), because a bare number says less than a named one.
It does not decide what is personal. Encodings other than JSON's own (base64, percent, HTML entities) are not looked through.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.exchange import Span

_UNICODE_ESCAPES = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")


def unescape_unicode(text: str) -> str:
    r"""Turn \uXXXX sequences for characters beyond ASCII into the characters themselves.

    `json.dumps` writes 李四 as \u674e\u56db by default, which a model reads and a detector does not. ASCII escapes stay, as they
    may be syntax (\u0022), and so does a sequence with an unpaired surrogate.
    """
    if "\\u" not in text:
        return text

    def decoded(match: re.Match[str]) -> str:
        escapes = match.group()
        characters: str = json.loads(f'"{escapes}"')
        if any("\ud800" <= c <= "\udfff" for c in characters):
            return escapes
        return "".join(c if ord(c) > 0x9F else f"\\u{ord(c):04x}" for c in characters)

    return _UNICODE_ESCAPES.sub(decoded, text)


@dataclass(slots=True)
class _Leaf:
    container: Any  # the dict or list that holds the text
    key: Any
    context: str
    number: bool  # the leaf was a JSON number and goes back as one where it can


@dataclass(slots=True)
class Leaves:
    """The leaves of one body. `texts` are as the caller wrote them; nothing of it shows in a repr."""

    texts: list[str] = field(default_factory=list, repr=False)
    _leaves: list[_Leaf] = field(default_factory=list, repr=False)
    _nested: list[tuple[Any, Any, Any]] = field(default_factory=list, repr=False)
    _keys: list[tuple[dict[str, Any], str, int]] = field(default_factory=list, repr=False)

    def add(self, container: Any, key: Any, text: str, context: str = "", number: bool = False) -> None:
        """Note that `container[key]` holds `text`."""
        self.texts.append(unescape_unicode(text))
        self._leaves.append(_Leaf(container, key, context, number))

    def add_key(self, container: dict[str, Any], key: str) -> None:
        """Note that the key itself carries text; `fill` renames it, its value stays in place."""
        holder = [key]
        self._keys.append((container, key, len(self._leaves)))
        self.add(holder, 0, key)

    def add_nested(self, container: Any, key: Any, root: Any) -> None:
        """Note that `container[key]` is a string of JSON whose parsed `root` holds leaves."""
        self._nested.append((container, key, root))

    def detection_texts(self) -> list[str]:
        """The texts with their contexts in front, for a detector."""
        return [leaf.context + text for leaf, text in zip(self._leaves, self.texts, strict=True)]

    def without_context(self, spans: Sequence[Sequence[Span]]) -> list[tuple[Span, ...]]:
        """Spans of `detection_texts` as spans of `texts`; a span that begins in the context is cut at the text's start."""
        moved = []
        for leaf, found in zip(self._leaves, spans, strict=True):
            shift = len(leaf.context)
            if shift:
                found = [Span(max(s.start - shift, 0), s.end - shift, s.entity, s.score) for s in found if s.end > shift]
            moved.append(tuple(found))
        return moved

    def fill(self, texts: Sequence[str]) -> None:
        """Write the replaced texts back, rename keys, then write each nested JSON as a string again, innermost first."""
        for leaf, text in zip(self._leaves, texts, strict=True):
            if leaf.number and text == str(leaf.container[leaf.key]):
                continue
            leaf.container[leaf.key] = int(text) if leaf.number and _INTEGER.fullmatch(text) else text
        renamed: dict[int, dict[str, str]] = {}
        containers: dict[int, dict[str, Any]] = {}
        for container, key, index in self._keys:
            renamed.setdefault(id(container), {})[key] = texts[index]
            containers[id(container)] = container
        for identity, names in renamed.items():
            container = containers[identity]
            items = [(names.get(key, key), value) for key, value in container.items()]
            container.clear()
            container.update(items)
        for container, key, root in reversed(self._nested):
            container[key] = json.dumps(root, ensure_ascii=False, separators=(", ", ": "))
