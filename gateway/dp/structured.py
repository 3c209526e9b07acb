"""Releases an object of fixed shape whose every leaf was noised, whatever the model answered.

Flow: the `noise` stage gives the model's text (or None where the upstream failed), gets the object to send. Each leaf's input
is clamped into its declared domain; a value that is missing, of the wrong kind, or in a text that is no JSON is replaced by
the leaf's fixed default before the noise. So the release is a function of values in fixed domains alone: (epsilon, delta)-local
DP summed over the leaves, unit the whole request, for any two inputs (Dwork et al. 2006; basic composition).

Not covered: how long the answer took. Dropped leaves never appear; the object is clamped after the noise (post-processing).
"""

from __future__ import annotations

import json
import math
from typing import Any

from gateway.dp.numeric import category_release, number_release
from policies.dp import StructuredRule
from policies.dp_schema import Leaf, Path, Scalar, leaves_of, upstream_schema

Json = dict[str, Any]
_MISSING = object()


def response_format(rule: StructuredRule) -> Json:
    """The `response_format` with which the model is asked for this shape."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": upstream_schema(rule.json_schema)}}


def check_release(rule: StructuredRule) -> None:
    """Build each mechanism once, so that a leaf which can't be noised is found when the policy is loaded. Raises ValueError."""
    for leaf in leaves_of(rule.json_schema):
        if leaf.kind == "dropped":
            continue
        try:
            noised(leaf, leaf.default)
        except Exception as error:  # OpenDP raises its own types for scales that overflow
            raise ValueError(f"the leaf at {'.'.join(map(str, leaf.path))} can't be noised with these bounds and epsilon") from error


def release(rule: StructuredRule, answer_text: str | None) -> Json:
    """The noised object. `answer_text` None (failed, truncated) is drawn from the defaults; it never raises for its content."""
    answer = _parse(answer_text)
    released: Json = {}
    for leaf in rule.leaves:
        if leaf.kind != "dropped":
            _put(released, leaf.path, noised(leaf, _input(leaf, answer)))
    return {name: _arrays(value) for name, value in released.items()}


def noised(leaf: Leaf, value: Scalar) -> Scalar:
    """One leaf's release, for a value of its domain."""
    if leaf.kind == "category":
        return leaf.categories[int(category_release(leaf.categories, leaf.epsilon)(leaf.categories.index(value)))]
    noisy = number_release(leaf)(int(value) if leaf.kind == "integer" else float(value))
    clamped = min(max(noisy, leaf.lower), leaf.upper)
    return int(clamped) if leaf.kind == "integer" else float(clamped)


def _parse(text: str | None) -> Any:
    if text is None or len(text) > 1 << 20:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _input(leaf: Leaf, answer: Any) -> Scalar:
    value: Any = answer
    for part in leaf.path:
        if isinstance(part, int):
            value = value[part] if isinstance(value, list) and part < len(value) else _MISSING
        else:
            value = value.get(part, _MISSING) if isinstance(value, dict) else _MISSING
    if leaf.kind == "category":
        # `True == 1` in Python: a category counts only with its own type.
        known = any(value == c and type(value) is type(c) for c in leaf.categories)
        return value if known else leaf.default
    if isinstance(value, bool) or not isinstance(value, int | float):
        return leaf.default
    if isinstance(value, float) and not math.isfinite(value):
        return leaf.default
    clamped = min(max(value, leaf.lower), leaf.upper)
    return round(clamped) if leaf.kind == "integer" else float(clamped)


def _put(tree: Json, path: Path, value: Scalar) -> None:
    node: Any = tree
    for part in path[:-1]:
        node = node.setdefault(part, {})
    node[path[-1]] = value


def _arrays(node: Any) -> Any:
    """Turn the maps keyed by positions back into lists."""
    if not isinstance(node, dict):
        return node
    if node and all(isinstance(key, int) for key in node):
        return [_arrays(node[key]) for key in sorted(node)]
    return {key: _arrays(value) for key, value in node.items()}
