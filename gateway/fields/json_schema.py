"""JSON Schemas of tools and response formats: which of their strings are structure, and which are text.

Property names stay as they are, since the caller's program reads the answer by them. Everything that a person writes for a model to
read (`description`, `enum`, `const`, `default`, `title`, `examples`, `pattern`, and any keyword not known here) is text.
Source: JSON Schema 2020-12, Core and Validation. A name hidden in a property's name is not looked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from gateway.errors import BadRequest, TooLarge
from gateway.fields.kinds import AnyJson, Reading

_BY_NAME = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_SCHEMAS = frozenset({"items", "additionalProperties", "unevaluatedProperties", "unevaluatedItems", "contains"})
_SCHEMAS_TOO = frozenset({"propertyNames", "not", "if", "then", "else", "additionalItems", "contentSchema"})
_SCHEMA_LISTS = frozenset({"anyOf", "allOf", "oneOf", "prefixItems"})
_TYPES = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_STRUCTURE = {
    "format": re.compile(r"[A-Za-z0-9-]{1,64}"),
    "$ref": re.compile(r"#[A-Za-z0-9_./$~%-]{0,256}"),
    "$dynamicRef": re.compile(r"#[A-Za-z0-9_./$~%-]{0,256}"),
    "$schema": re.compile(r"https?://json-schema\.org/[A-Za-z0-9/#._-]{0,64}"),
    "$id": re.compile(r"[A-Za-z0-9_:/#.-]{0,256}"),
    "$anchor": re.compile(r"[A-Za-z0-9_.-]{0,64}"),
    "$dynamicAnchor": re.compile(r"[A-Za-z0-9_.-]{0,64}"),
    "contentEncoding": re.compile(r"[A-Za-z0-9-]{1,32}"),
    "contentMediaType": re.compile(r"[A-Za-z0-9/+.-]{1,64}"),
}


@dataclass(frozen=True, slots=True)
class Schema:
    """A JSON Schema: an object or a boolean."""

    def read(self, out: Any, key: Any, value: Any, where: str, reading: Reading) -> None:
        self._read(out, key, value, where, reading, 0)

    def _read(self, out: Any, key: Any, value: Any, where: str, reading: Reading, depth: int) -> None:
        if depth > reading.max_depth:
            raise TooLarge(f"`{where}` is nested deeper than {reading.max_depth} levels.", param=where)
        if isinstance(value, bool):
            out[key] = value
            return
        if not isinstance(value, dict):
            raise BadRequest(f"`{where}` must hold JSON Schemas: objects or booleans.", param=where)
        out[key] = copy = dict.fromkeys(value)
        for name, member in value.items():
            if name in _BY_NAME and isinstance(member, dict):
                copy[name] = named = dict.fromkeys(member)
                for property_name, schema in member.items():
                    self._read(named, property_name, schema, where, reading, depth + 1)
            elif name in _SCHEMA_LISTS or (name == "items" and isinstance(member, list)):
                self._read_list(copy, name, member, where, reading, depth)
            elif name in _SCHEMAS or name in _SCHEMAS_TOO:
                self._read(copy, name, member, where, reading, depth + 1)
            elif name == "type":
                types = member if isinstance(member, list) else [member]
                if not all(isinstance(each, str) and each in _TYPES for each in types):
                    raise BadRequest(f"`{where}` has a `type` that JSON Schema does not know.", param=where)
                copy[name] = member
            elif name in ("required", "dependentRequired"):
                self._check_names(name, member, where)
                copy[name] = member
            elif (pattern := _STRUCTURE.get(name)) is not None:
                if not isinstance(member, str) or not pattern.fullmatch(member):
                    raise BadRequest(f"`{where}` has a `{name}` that is not of its usual form.", param=where)
                copy[name] = member
            else:
                AnyJson().read(copy, name, member, where, reading)

    def _read_list(self, out: Any, key: Any, value: Any, where: str, reading: Reading, depth: int) -> None:
        if not isinstance(value, list):
            raise BadRequest(f"`{where}` must have a list under `{key}`.", param=where)
        out[key] = copy = [None] * len(value)
        for index, each in enumerate(value):
            self._read(copy, index, each, where, reading, depth + 1)

    @staticmethod
    def _check_names(keyword: str, value: Any, where: str) -> None:
        lists = [value] if keyword == "required" else list(value.values()) if isinstance(value, dict) else [None]
        if not all(isinstance(names, list) and all(isinstance(each, str) for each in names) for names in lists):
            raise BadRequest(f"`{where}` must have lists of property names under `{keyword}`.", param=where)
