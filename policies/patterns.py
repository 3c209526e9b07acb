"""Regular expressions of a policy run on RE2: matching time is linear in the text, whatever the pattern.

The schema compiles every pattern when a policy is loaded, so a bad or hostile one never reaches a request. RE2 has no
back-references and no look-around (https://github.com/google/re2/wiki/Syntax); `\\d`, `\\w` and `\\b` are ASCII.
This bounds the time of a match. It does not say whether a pattern finds the right thing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, cast

import re2

MAX_PROGRAM_BYTES = 1 << 20  # RE2's budget for the compiled program and its DFA cache; 1 MiB holds any sane pattern


class Pattern(Protocol):
    """What callers use of a compiled RE2 pattern; matches have `start`, `end`, `span` and `group` as in `re`."""

    def search(self, text: str) -> Any: ...

    def fullmatch(self, text: str) -> Any: ...

    def finditer(self, text: str) -> Iterator[Any]: ...


def compile_pattern(regex: str, *, ignore_case: bool = False) -> Pattern:
    """Compile `regex`. Raises ValueError where RE2 refuses it, or where it matches the empty string."""
    options = re2.Options()
    options.max_mem = MAX_PROGRAM_BYTES
    options.log_errors = False
    options.case_sensitive = not ignore_case
    try:
        compiled = cast(Pattern, re2.compile(regex, options))
    except re2.error as refused:
        reason = refused.args[0] if refused.args else "invalid"
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(
            f"RE2 refuses this pattern: {text}. Look-around and back-references are not linear-time: "
            "use `context` words or `validation` instead"
        ) from None
    if compiled.search("") is not None:
        raise ValueError("this pattern matches the empty string, so it would match everywhere")
    return compiled
