"""Reads a JSON Schema whose every leaf declares how it is noised, and refuses any other.

The shape must be fixed, so that it tells nothing: objects list all their properties (`required` may be left out: all are),
arrays have `minItems` equal to `maxItems`, and no keyword gives a choice of shapes. A leaf carries `x-dp`:

    {"type": "number", "minimum": 0, "maximum": 10, "x-dp": {"mechanism": "laplace", "epsilon": 1.0}}
    {"type": "integer", "minimum": 0, "maximum": 5, "x-dp": {"mechanism": "gaussian", "epsilon": 1.0, "delta": 1e-6}}
    {"enum": ["low", "high"], "x-dp": {"mechanism": "randomized_response", "epsilon": 1.0}}
    {"type": "boolean", "x-dp": {"mechanism": "randomized_response", "epsilon": 1.0}}
    {"type": "string", "x-dp": {"mechanism": "drop"}}

A dropped leaf is asked of the model (reasoning before a number helps it) and never released. A leaf's fixed default, from which
a failed answer is drawn, is the middle of a range or the first category. Raises ValueError, naming the path.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

MAX_DEPTH = 8
MAX_LEAVES = 256
MAX_INTEGER = 1 << 53

Path = tuple[str | int, ...]
Mechanism = Literal["laplace", "gaussian", "randomized_response", "drop"]
Scalar = str | int | float | bool

_SHAPE_CHOICES = ("$ref", "$defs", "definitions", "anyOf", "oneOf", "allOf", "not", "if", "patternProperties", "dependentSchemas")
_ALLOWED = {
    "object": {"type", "properties", "required", "additionalProperties", "title", "description"},
    "array": {"type", "items", "minItems", "maxItems", "title", "description"},
    "leaf": {"type", "minimum", "maximum", "enum", "x-dp", "title", "description"},
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value of the released object: where it stands, its domain, its mechanism with epsilon and delta, its default."""

    path: Path
    kind: Literal["number", "integer", "category", "dropped"]
    mechanism: Mechanism
    epsilon: float = 0.0
    delta: float = 0.0
    lower: float = 0.0
    upper: float = 0.0
    categories: tuple[Scalar, ...] = ()

    @property
    def default(self) -> Scalar:
        """The input from which this leaf is drawn when the model's answer gives none."""
        if self.kind == "category":
            return self.categories[0]
        middle = (self.lower + self.upper) / 2
        return round(middle) if self.kind == "integer" else middle

    @property
    def sensitivity(self) -> float:
        """How far two inputs can lie apart: upper - lower, never rounded down."""
        exact = Fraction(self.upper) - Fraction(self.lower)
        near = float(exact)
        return near if Fraction(near) >= exact else math.nextafter(near, math.inf)


def leaves_of(schema: Mapping[str, Any]) -> tuple[Leaf, ...]:
    """All leaves in the order of the schema. Raises ValueError where the schema is open, recursive, or a leaf has no mechanism."""
    leaves: list[Leaf] = []
    if schema.get("type") != "object":
        raise ValueError("schema: the top must be an object")
    _walk(schema, (), leaves)
    if not any(leaf.kind != "dropped" for leaf in leaves):
        raise ValueError("schema: no leaf is released")
    return tuple(leaves)


def _walk(node: Any, path: Path, leaves: list[Leaf]) -> None:
    where = "schema" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)
    if not isinstance(node, Mapping):
        raise ValueError(f"{where}: must be a schema object")
    if len(path) > MAX_DEPTH:
        raise ValueError(f"{where}: deeper than {MAX_DEPTH} levels (recursive schemas have no fixed shape)")
    for keyword in _SHAPE_CHOICES:
        if keyword in node:
            raise ValueError(f"{where}: {keyword} is refused: the shape must be fixed")
    kind = node.get("type")
    if isinstance(kind, list):
        raise ValueError(f"{where}: a union of types is refused: the shape must be fixed")
    shape = kind if kind in ("object", "array") else "leaf"
    if unknown := set(node) - _ALLOWED[shape]:
        raise ValueError(f"{where}: {sorted(unknown)[0]} is not understood here")
    if shape == "object":
        _object(node, path, where, leaves)
    elif shape == "array":
        length = node.get("minItems")
        if not isinstance(length, int) or isinstance(length, bool) or length < 1 or length != node.get("maxItems"):
            raise ValueError(f"{where}: an array needs minItems equal to maxItems, at least 1")
        for i in range(min(length, MAX_LEAVES + 1)):
            _walk(node.get("items"), (*path, i), leaves)
    else:
        leaves.append(_leaf(node, path, where))
    if len(leaves) > MAX_LEAVES:
        raise ValueError(f"{where}: more than {MAX_LEAVES} leaves")


def _object(node: Mapping[str, Any], path: Path, where: str, leaves: list[Leaf]) -> None:
    properties = node.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        raise ValueError(f"{where}: an object needs its properties")
    if node.get("additionalProperties", False) is not False:
        raise ValueError(f"{where}: an open object is refused; set additionalProperties to false")
    if set(node.get("required", properties)) != set(properties):
        raise ValueError(f"{where}: every property must be required")
    for name, child in properties.items():
        _walk(child, (*path, str(name)), leaves)


def _leaf(node: Mapping[str, Any], path: Path, where: str) -> Leaf:
    declared = node.get("x-dp")
    if not isinstance(declared, Mapping):
        raise ValueError(f"{where}: a leaf without a mechanism; add x-dp (drop removes a free text)")
    mechanism = declared.get("mechanism")
    if mechanism not in ("laplace", "gaussian", "randomized_response", "drop"):
        raise ValueError(f"{where}: mechanism must be laplace, gaussian, randomized_response or drop")
    fields = {"laplace": {"epsilon"}, "gaussian": {"epsilon", "delta"}, "randomized_response": {"epsilon"}, "drop": set()}[mechanism]
    if set(declared) != fields | {"mechanism"}:
        raise ValueError(f"{where}: {mechanism} takes exactly {', '.join(sorted(fields)) or 'no parameter'}")
    kind = node.get("type")
    if mechanism == "drop":
        return Leaf(path, "dropped", "drop")
    epsilon, delta = _real(declared["epsilon"], where, "epsilon"), 0.0
    if not epsilon > 0.0:
        raise ValueError(f"{where}: epsilon must be over 0")
    if "delta" in fields:
        delta = _real(declared["delta"], where, "delta")
        if not 0.0 < delta < 1.0:
            raise ValueError(f"{where}: delta must lie between 0 and 1")
    if "enum" in node or kind == "boolean":
        if mechanism != "randomized_response":
            raise ValueError(f"{where}: an enum or boolean takes randomized_response")
        categories = (False, True) if kind == "boolean" else _categories(node["enum"], where)
        return Leaf(path, "category", "randomized_response", epsilon, categories=categories)
    if kind not in ("number", "integer"):
        raise ValueError(f"{where}: a free text can only be dropped; a number, integer, enum or boolean can be noised")
    if mechanism == "randomized_response":
        raise ValueError(f"{where}: a number takes laplace or gaussian")
    lower, upper = _real(node.get("minimum"), where, "minimum"), _real(node.get("maximum"), where, "maximum")
    if not lower < upper:
        raise ValueError(f"{where}: minimum must be under maximum")
    if not math.isfinite(upper - lower):
        raise ValueError(f"{where}: minimum and maximum lie too far apart")
    if kind == "integer" and not (lower.is_integer() and upper.is_integer() and max(abs(lower), abs(upper)) < MAX_INTEGER):
        raise ValueError(f"{where}: the bounds of an integer must be integers under 2^53")
    return Leaf(path, "integer" if kind == "integer" else "number", mechanism, epsilon, delta, lower, upper)


def _categories(values: Any, where: str) -> tuple[Scalar, ...]:
    if not isinstance(values, list) or not 2 <= len(values) <= 1024 or not all(isinstance(v, str) for v in values):
        raise ValueError(f"{where}: an enum needs 2 to 1024 strings")
    if len(set(values)) != len(values):
        raise ValueError(f"{where}: an enum must not repeat a value")
    return tuple(values)


def _real(value: Any, where: str, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{where}: {name} must be a finite number")
    return float(value)


def upstream_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as the model server gets it: without `x-dp`, every property required, nothing open."""
    kept: dict[str, Any] = {k: v for k, v in schema.items() if k not in ("x-dp", "properties", "items", "required")}
    if schema.get("type") == "object":
        kept["properties"] = {name: upstream_schema(child) for name, child in schema["properties"].items()}
        kept["required"] = list(schema["properties"])
        kept["additionalProperties"] = False
    elif schema.get("type") == "array":
        kept["items"] = upstream_schema(schema["items"])
    elif "enum" in schema:
        kept["type"] = "string"
    return kept
