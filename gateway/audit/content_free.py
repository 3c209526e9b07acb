"""A record may hold numbers, and words from known fields; everything else is withheld.

The filter does not look for personal data in a value: it does not let any free text through. A string passes only in a
field that is known to hold an identifier of this system, and only if it looks like one. It is used for audit records and
for log lines. It can't help where somebody names a tenant, a policy or a model after a person.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

WITHHELD = "withheld"
MAX_ENTRIES = 200
MAX_DEPTH = 3

# Fields whose strings are identifiers or fixed words of this system.
WORD_FIELDS = frozenset(
    {
        *("action", "actor", "alias", "api", "author", "backend", "budget", "canary", "code", "component", "detector", "digest", "entity"),
        *("env", "error", "event", "fault", "key_id", "key_role", "kind", "level", "logger", "mechanism", "method", "model", "name"),
        *("outcome", "path", "peer", "places", "policy", "policy_id", "privacy_unit", "reason_code", "release", "request_id"),
        *("reservation_id", "role", "route", "signal", "stage", "state", "store", "target", "tenant", "timestamp", "unit"),
        *("upstream_model", "version", "window", "worker"),
    }
)
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_:.-]{0,99}\Z")
_WORD = re.compile(r"[A-Za-z0-9._:@/+*=-]{0,160}\Z")
# what a word of ours never looks like: a mail address, a telephone, card or identity number
_MAIL = re.compile(r"[^@/]@[^@/]*\.[A-Za-z]{2}")
_PERSONAL = re.compile(_MAIL.pattern + r"|(?:[0-9][ -]?){9}")
# random hexadecimal digits are theirs, and nine decimal ones in a row are common among those
_IDENTIFIERS = frozenset({"actor", "author", "digest", "key_id", "request_id", "reservation_id", "timestamp", "version"})


def content_free(record: Mapping[str, object]) -> dict[str, object]:
    """The record with every value that could carry content replaced by `withheld`, and field names that could left out."""
    return _mapping(record, 0)


def carries(name: str, value: str) -> bool:
    """Whether this string would stand in a record under this field as it is."""
    return content_free({name: value}) == {name: value}


def _mapping(record: Mapping[str, object], depth: int) -> dict[str, object]:
    named = [(name, value) for name, value in list(record.items())[:MAX_ENTRIES] if isinstance(name, str) and _FIELD.match(name)]
    return {name: _value(name, value, depth) for name, value in named}


def _value(name: str, value: object, depth: int) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else WITHHELD
    if isinstance(value, float):
        return value if math.isfinite(value) else WITHHELD
    if isinstance(value, str):
        personal = _MAIL if name in _IDENTIFIERS else _PERSONAL
        passes = name in WORD_FIELDS and _WORD.match(value) and not personal.search(value)
        return str(value) if passes else WITHHELD
    if isinstance(value, Mapping) and depth < MAX_DEPTH:
        return _mapping(value, depth + 1)
    if isinstance(value, list | tuple) and depth < MAX_DEPTH:
        return [_value(name, item, depth + 1) for item in value[:MAX_ENTRIES]]
    return WITHHELD
