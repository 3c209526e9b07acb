"""The difference of two policies as a list of changed fields, each with what stood before and what stands after.

It compares what the policies say, after `extends`, not how their YAML is written. A reviewer reads it before a save;
it does not judge which side protects more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from policies.schema import Policy


@dataclass(frozen=True, slots=True)
class Change:
    """One field: `path` in dots, its value before and after; None where the field does not stand on that side."""

    path: str
    before: Any
    after: Any

    @property
    def kind(self) -> Literal["added", "removed", "changed"]:
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


def diff(before: Policy | None, after: Policy | None) -> list[Change]:
    """The changes from `before` to `after`, sorted by path. None on a side stands for no policy at all."""
    left = _leaves(before.model_dump(mode="json")) if before is not None else {}
    right = _leaves(after.model_dump(mode="json")) if after is not None else {}
    return [
        Change(path, left.get(path), right.get(path)) for path in sorted(left.keys() | right.keys()) if left.get(path) != right.get(path)
    ]


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Every scalar and list under its dotted path; named list entries (recognizers) go by their name."""
    if isinstance(value, dict):
        return {k: v for name, inner in value.items() for k, v in _leaves(inner, f"{path}.{name}" if path else str(name)).items()}
    if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        return {k: v for item in value for k, v in _leaves(item, f"{path}[{item['name']}]").items()}
    return {path: value}
