"""`extends` lays a policy over its base: mappings merge key by key, lists and scalars replace, null takes away.

The rule, whole:
1. `id`, `description`, `match` and `extends` are a policy's own and are never inherited.
2. Where both sides hold a mapping, the merge goes on inside it, key by key.
3. Else the value of the extending policy stands: a list replaces a list, nothing is appended.
4. `null` takes the inherited value away; the field then has its default.
5. A base may itself extend another one, at most MAX_CHAIN deep, never in a circle.

The merge happens when a policy is loaded. What the store keeps is the merged result, so a later change of the base
serves no request until the extending policy is applied, and reviewed, again.
"""

from __future__ import annotations

from collections.abc import Callable

from policies.strict_yaml import Document, PolicyError, Value

MAX_CHAIN = 8
OWN_FIELDS = ("id", "description", "match", "extends")

Lookup = Callable[[str], Document | None]


def flatten(document: Document, lookup: Lookup) -> dict[str, Value]:
    """The document with all its bases merged in.

    Raises PolicyError where a base is unknown, where `extends` goes in a circle or deeper than MAX_CHAIN.
    """
    chain = [document.root]
    names = [str(document.root.get("id"))]
    line = document.line_of(("extends",))
    while (base_name := chain[-1].get("extends")) is not None:
        if not isinstance(base_name, str):
            raise PolicyError("`extends` is the name of one pack or policy", line=line)
        names.append(base_name)
        if base_name in names[:-1]:
            raise PolicyError(f"`extends` goes in a circle: {' → '.join(names)}", line=line)
        if len(chain) >= MAX_CHAIN:
            raise PolicyError(f"`extends` is more than {MAX_CHAIN} deep: {' → '.join(names)}", line=line)
        base = lookup(base_name)
        if base is None:
            raise PolicyError(f"`extends` names {base_name!r}, which is neither a pack nor a policy that stands here", line=line)
        chain.append(base.root)
    merged: dict[str, Value] = {}
    for layer in reversed(chain):
        inherited = {key: value for key, value in merged.items() if key not in OWN_FIELDS}
        merged = overlay(inherited, layer)
    return merged


def overlay(base: dict[str, Value], over: dict[str, Value]) -> dict[str, Value]:
    """`over` laid on `base` by rules 2 to 4 of the module."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = overlay(below if isinstance(below, dict) else {}, value)
        else:
            merged[key] = value
    return merged
