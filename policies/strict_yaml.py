"""A policy document is YAML 1.2 scalars, lists and mappings, with nothing that surprises a reviewer.

PyYAML reads YAML 1.1, where `off` is false, `1:30` is 90 and a date is an object. Here only `null`, `true`, `false`,
decimal integers and floats are special (the JSON schema of YAML 1.2.2, section 10.2); every other plain scalar is a
string. Anchors, aliases, merge keys, tags and repeated keys are refused: an alias can expand without bound, and a
repeated key hides what a reviewer read first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

MAX_DOCUMENT_BYTES = 256 * 1024
MAX_DEPTH = 16

Value = bool | int | float | str | list["Value"] | dict[str, "Value"] | None

_INT = re.compile(r"-?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?\Z")
_PLAIN: dict[str, bool | None] = {"null": None, "~": None, "": None, "true": True, "false": False}


class PolicyError(ValueError):
    """A policy document that can't be used. `line` counts from 1, None where no line is known."""

    def __init__(self, message: str, *, line: int | None = None) -> None:
        super().__init__(f"line {line}: {message}" if line is not None else message)
        self.line = line


@dataclass(frozen=True)
class Document:
    """A parsed document, and the line on which each path begins."""

    root: dict[str, Value]
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict)

    def line_of(self, path: tuple[str | int, ...]) -> int | None:
        """The line of `path`, or of its nearest ancestor that the document writes."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return None


def parse(text: str) -> Document:
    """Read one document. Raises PolicyError, with the line, for anything but plain YAML with unique string keys."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_DOCUMENT_BYTES:
        raise PolicyError(f"the policy is larger than {MAX_DOCUMENT_BYTES // 1024} KiB; split it, or move long lists to a roster")
    try:
        _refuse_events(yaml.parse(text, Loader=yaml.SafeLoader))
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise PolicyError(f"this is not YAML: {error.problem or 'unreadable'}", line=mark.line + 1 if mark else None) from None
    except yaml.YAMLError as error:
        raise PolicyError(f"this is not YAML: {type(error).__name__}") from None
    if len(nodes) != 1:
        raise PolicyError("a policy is one YAML document" if nodes else "the policy is empty")
    lines: dict[tuple[str | int, ...], int] = {}
    root = _build(nodes[0], (), lines)
    if not isinstance(root, dict):
        raise PolicyError("a policy is a mapping of fields at its top level", line=1)
    return Document(root, lines)


def _refuse_events(events: Iterator[yaml.Event]) -> None:
    """Refuse aliases and tags before anything is composed, so that no alias is ever expanded."""
    depth = 0
    for event in events:
        line = event.start_mark.line + 1 if event.start_mark else None
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise PolicyError("anchors and aliases are refused; write the value out", line=line)
        if getattr(event, "tag", None) is not None:
            raise PolicyError("YAML tags are refused", line=line)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise PolicyError(f"nested deeper than {MAX_DEPTH} levels", line=line)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _build(node: yaml.Node, path: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]) -> Value:
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, index), lines) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Value] = {}
        for key_node, value_node in node.value:
            key_line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise PolicyError("a field name is a plain word", line=key_line)
            key = str(key_node.value)
            if key == "<<":
                raise PolicyError("merge keys (<<) are refused; use `extends`", line=key_line)
            if key in mapping:
                raise PolicyError(f"field {key!r} stands twice", line=key_line)
            lines[(*path, key)] = key_line
            mapping[key] = _build(value_node, (*path, key), lines)
        return mapping
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    return _scalar(str(node.value)) if plain else str(node.value)


def _scalar(plain: str) -> Value:
    if plain in _PLAIN:
        return _PLAIN[plain]
    if _INT.match(plain):
        return int(plain) if len(plain) <= 20 else plain
    if _FLOAT.match(plain):
        return float(plain)
    return plain
