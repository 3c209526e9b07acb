"""The kinds of field that a request may have: how each is checked, and whether it carries text.

A body is read by laying a tree of kinds over it (`fields.chat` and its siblings hold one tree an API). Reading copies the body, so
that the caller's own is never changed, and notes every text leaf. Whatever no kind knows is refused: nothing passes unread.
Messages name the place of a fault, never its content. The range of a number is left to the model server.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from gateway.errors import BadRequest, TooLarge, UnknownField, UnsupportedContent
from gateway.fields.leaves import Leaves

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_LONG_NUMBER = 7  # digits: shorter numbers identify nobody by themselves


@dataclass(slots=True)
class Reading:
    """What one pass over a body shares: the leaves found and the limits that hold."""

    leaves: Leaves
    max_depth: int = 64
    max_items: int = 2000
    allowed_fields: frozenset[str] = frozenset()


class Kind(Protocol):
    """Reads `value` into `out[key]`. Raises BadRequest or a subclass; `where` is its place in the request."""

    def read(self, out: Any, key: Any, value: Any, where: str, reading: Reading) -> None: ...


def shown(name: object) -> str:
    """A field's name for a message: an ordinary name as it is, anything else (it could be text) as a description."""
    return f"`{name}`" if isinstance(name, str) and _PLAIN_NAME.fullmatch(name) else "with an unusual name"


@dataclass(frozen=True, slots=True)
class Number:
    """A number or a boolean: it carries no text."""

    def read(self, out: Any, key: Any, value: Any, where: str, reading: Reading) -> None:
        if not isinstance(value, (int, float)):
            raise BadRequest(f"`{where}` must be a number or a boolean.", param=where)
        out[key] = value


@dataclass(frozen=True, slots=True)
class Numbers:
    """A list of numbers (token ids)."""

    def read(self, out: Any, key: Any, value: Any, where: str, reading: Reading) -> None:
        if not isinstance(value, list) or not all(isinstance(each, (int, float)) for each in value):
            raise BadRequest(f"`{where}` must be a list of numbers.", param=where)
        out[key] = list(value)


@dataclass(frozen=True, slots=True)
class NumberMap:
    """An object from token ids, written in digits, to numbers (`logit_bias`)."""

    def read(self, out: Any, key: Any, value: Any, where: str, reading: Reading) -> None:
        if not isinstance(value, dict) or not all(
            name.isascii() and name.isdigit() and isinstance(number, (int, float)) for name, number in value.items()
        ):
            raise BadRequest(f"`{where}` must map token ids to numbers.", param=where)
        out[key] = dict(value)


@dataclass(frozen=True, slots=True)
class Choice:
    """A string out of a closed set."""

    options: tuple[str, ...]

    def read(self, out: Any, key: Any, value: Any, where: str, reading: Reading) -> None:
        if not isinstance(value, str) or value not in self.options:
            raise BadRequest(f"`{where}` must be one of: {', '.join(self.options)}.", param=where)
        out[key] = value


@dataclass(frozen=True, slots=True)
class Name:
    """A function's name or an identifier: letters, digits and a few signs. It goes upstream as it is."""

    pattern: re.Pattern[str] = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

    def read(self, out: Any, key: Any, value: Any, where: str, reading: Reading) -> None:
        if not isinstance(value, str) or not self.pattern.fullmatch(value):
            raise BadRequest(f"`{where}` must be 1 to 128 letters, digits or the signs _ . : -", param=where)
        out[key] = value


@dataclass(frozen=True, slots=True)
class Text:
    """A string that carries text: a leaf."""

    def read(self, out: Any, key: Any, value: Any, where: str, reading: Reading) -> None:
        if not isinstance(value, str):
            raise BadRequest(f"`{where}` must be a string.", param=where)
        out[key] = value
        if value:
            reading.leaves.add(out, key, value)


@dataclass(frozen=True, slots=True)
class TextOrList:
    """A string or a list of strings, each a leaf; token ids are refused, since text could hide in them."""

    hint: str = ""

    def read(self, out: Any, key: Any, value: Any, where: str, reading: Reading) -> None:
        if isinstance(value, str):
            Text().read(out, key, value, where, reading)
            return
        if not isinstance(value, list):
            raise BadRequest(f"`{where}` must be a string or a list of strings.", param=where)
        if len(value) > reading.max_items:
            raise TooLarge(f"`{where}` has more than {reading.max_items} items.", param=where)
        if any(isinstance(each, (int, list)) for each in value):
            message = f"`{where}` holds token ids, which can't be scrubbed; send text. {self.hint}"
            raise UnsupportedContent(message.rstrip(), param=where)
        copy: list[Any] = [None] * len(value)
        for index, each in enumerate(value):
            Text().read(copy, index, each, f"{where}[{index}]", reading)
        out[key] = copy


@dataclass(frozen=True, slots=True)
class AnyJson:
    """Free JSON (tool arguments, default values): every string, long number and unusual key in it is a leaf.

    Strings under a key in `kept` stay as they are.
    """

    kept: frozenset[str] = frozenset()

    def read(self, out: Any, key: Any, value: Any, where: str, reading: Reading) -> None:
        self._read(out, key, value, where, reading, "", 0)

    def _read(self, out: Any, key: Any, value: Any, where: str, reading: Reading, context: str, depth: int) -> None:
        if depth > reading.max_depth:
            raise TooLarge(f"`{where}` is nested deeper than {reading.max_depth} levels.", param=where)
        out[key] = value
        if isinstance(value, str):
            if value:
                reading.leaves.add(out, key, value, context)
        elif isinstance(value, bool) or value is None:
            return
        elif isinstance(value, (int, float)):
            if abs(value) >= 10 ** (_LONG_NUMBER - 1):
                reading.leaves.add(out, key, str(value), context, number=True)
        elif isinstance(value, list):
            items: list[Any] = [None] * len(value)
            out[key] = items
            for index, each in enumerate(value):
                self._read(items, index, each, where, reading, context, depth + 1)
        else:
            out[key] = members = cast(dict[str, Any], dict.fromkeys(value))
            for name, each in value.items():
                if name in self.kept and isinstance(each, str):
                    members[name] = each
                    continue
                plain = _PLAIN_NAME.fullmatch(name) is not None
                self._read(members, name, each, where, reading, f"{name}: " if plain else "", depth + 1)
                if not plain and name:
                    reading.leaves.add_key(members, name)


@dataclass(frozen=True, slots=True)
class JsonText:
    """JSON inside a string (tool-call arguments): scrubbed leaf by leaf and written again; broken JSON is one leaf."""

    def read(self, out: Any, key: Any, value: Any, where: str, reading: Reading) -> None:
        if not isinstance(value, str):
            raise BadRequest(f"`{where}` must be a string of JSON.", param=where)
        if _too_deep(value, reading.max_depth):
            raise TooLarge(f"`{where}` is nested deeper than {reading.max_depth} levels.", param=where)
        try:
            root = json.loads(value)
        except ValueError:  # models do write broken arguments, and a conversation has to go on with them
            Text().read(out, key, value, where, reading)
            return
        if not isinstance(root, (dict, list)):
            Text().read(out, key, value, where, reading)
            return
        if "\\ud" in value.lower() and not _encodable(root):
            raise BadRequest(f"`{where}` holds an unpaired surrogate, which is no character.", param=where)
        holder: list[Any] = [None]
        AnyJson().read(holder, 0, root, where, reading)
        out[key] = value
        reading.leaves.add_nested(out, key, holder[0])


def _encodable(root: Any) -> bool:
    try:
        json.dumps(root, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _too_deep(text: str, limit: int) -> bool:
    """Whether brackets nest deeper than `limit`; brackets inside strings count too, which only errs on the safe side."""
    if text.count("{") + text.count("[") <= limit:
        return False
    depth = 0
    for character in text:
        if character in "{[":
            depth += 1
            if depth > limit:
                return True
        elif character in "}]":
            depth -= 1
    return False


@dataclass(frozen=True, slots=True)
class Nothing:
    """A field of the API that may stand there empty (null, [], {}, "", false, 0) but not filled."""

    why: str

    def read(self, out: Any, key: Any, value: Any, where: str, reading: Reading) -> None:
        if value not in (None, [], {}, "", False):
            raise UnsupportedContent(f"`{where}` is not served: {self.why}", param=where)


@dataclass(frozen=True, slots=True)
class Withheld:
    """A field that the gateway accepts and never sends upstream (`user`, `metadata`): the model has no use for it."""

    def read(self, out: Any, key: Any, value: Any, where: str, reading: Reading) -> None:
        return


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list whose members are of one kind."""

    member: Kind

    def read(self, out: Any, key: Any, value: Any, where: str, reading: Reading) -> None:
        if not isinstance(value, list):
            raise BadRequest(f"`{where}` must be a list.", param=where)
        if len(value) > reading.max_items:
            raise TooLarge(f"`{where}` has more than {reading.max_items} items.", param=where)
        out[key] = copy = [None] * len(value)
        for index, each in enumerate(value):
            self.member.read(copy, index, each, f"{where}[{index}]", reading)


@dataclass(frozen=True, slots=True)
class Object:
    """An object with known fields. A field that is null counts as absent, but for those in `keep_null`."""

    fields: Mapping[str, Kind]
    required: tuple[str, ...] = ()
    keep_null: Collection[str] = field(default_factory=frozenset)
    top: bool = False  # the request itself: the policy's allowed_fields hold here

    def read(self, out: Any, key: Any, value: Any, where: str, reading: Reading) -> None:
        if not isinstance(value, dict):
            raise BadRequest(f"`{where}` must be an object." if where else "The request body must be a JSON object.", param=where or None)
        copy: dict[str, Any] = {}
        out[key] = copy
        prefix = f"{where}." if where else ""
        for name, member in value.items():
            kind = self.fields.get(name)
            if kind is None:
                if member is None:
                    continue
                if self.top and name in reading.allowed_fields:
                    copy[name] = member
                    continue
                place = f"in `{where}` " if where else ""
                raise UnknownField(
                    f"Unknown field {shown(name)} {place}is refused, since text in it would go unscrubbed. "
                    "Leave it out, or have it named in the policy's allowed_fields.",
                    param=f"{prefix}{name}" if _PLAIN_NAME.fullmatch(name) else where or None,
                )
            if member is None:
                if name in self.keep_null:
                    copy[name] = None
                continue
            kind.read(copy, name, member, f"{prefix}{name}", reading)
        for name in self.required:
            if name not in copy:
                raise BadRequest(f"`{prefix}{name}` is missing.", param=f"{prefix}{name}")


@dataclass(frozen=True, slots=True)
class ByType:
    """An object whose field `tag` says which kind it is; any other is content that can't be scrubbed."""

    kinds: Mapping[str, Kind]
    tag: str = "type"
    default: str | None = None  # the type of an object that has no tag
    what: str = "part"

    def read(self, out: Any, key: Any, value: Any, where: str, reading: Reading) -> None:
        if not isinstance(value, dict):
            raise BadRequest(f"`{where}` must be an object.", param=where)
        tag = value.get(self.tag, self.default)
        kind = self.kinds.get(tag) if isinstance(tag, str) else None
        if kind is None:
            known = ", ".join(self.kinds)
            raise UnsupportedContent(
                f"`{where}` is a {self.what} of a type that can't be scrubbed, so it is refused; types served: {known}.", param=where
            )
        kind.read(out, key, value, where, reading)


@dataclass(frozen=True, slots=True)
class StringOr:
    """A string of one kind, or else a value of another (content: text or parts; tool_choice: a word or an object)."""

    string: Kind
    other: Kind

    def read(self, out: Any, key: Any, value: Any, where: str, reading: Reading) -> None:
        (self.string if isinstance(value, str) else self.other).read(out, key, value, where, reading)
