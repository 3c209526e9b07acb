"""A policy's own recognizers: RE2 patterns, words that raise the score, a checksum, deny and allow lists.

RE2 makes every pattern linear in the text; the schema bounds its length; the compiled size is bounded here. A pattern
that matches everything still only makes that tenant's texts disappear, not the service.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.pii import checksums
from gateway.pii.reading import Reading
from gateway.pii.recognizers.base import Finding, Pattern, PatternRecognizer
from policies.schema import CustomRecognizer

_CONTEXT_GAIN = 0.35
_CHECKS = {"luhn": checksums.luhn, "mod97": checksums.mod97, "mod11_2": checksums.mod11_2}


class PolicyRecognizer(PatternRecognizer):
    """One `CustomRecognizer` of a policy.

    Raises:
        ValueError: RE2 refuses a pattern.
    """

    verbatim = True

    def __init__(self, custom: CustomRecognizer) -> None:
        self.entity = custom.entity
        self.patterns = tuple(
            Pattern(pattern.regex, pattern.score, with_context=min(1.0, pattern.score + _CONTEXT_GAIN) if custom.context else None)
            for pattern in custom.patterns
        ) + tuple(Pattern(_literal(term), 1.0) for term in custom.deny_list)
        self.context_words = tuple(word for word in custom.context if word.strip())
        self._allowed = frozenset(term.casefold() for term in custom.allow_list)
        self._check = _CHECKS[custom.validation] if custom.validation else None
        self._denied = frozenset(term.casefold() for term in custom.deny_list)
        super().__init__(name=f"policy:{custom.name}")

    def validate(self, value: str) -> bool:
        if value.casefold() in self._allowed:
            return False
        return self._check is None or value.casefold() in self._denied or self._check("".join(filter(str.isalnum, value)))

    def allows(self, value: str) -> bool:
        """Whether the allow list keeps this very value out of every finding of this recognizer's entity."""
        return value.casefold() in self._allowed

    def find(self, reading: Reading) -> Iterator[Finding]:
        for finding in super().find(reading):
            if finding.end > finding.start:
                yield finding


def _literal(term: str) -> str:
    """The term in any case, as a word of its own where it begins or ends with an ASCII letter or digit."""
    escaped = (
        re.sub(r"([^\w\s])", r"\\\1", term.strip(), flags=re.ASCII)
        if term.isascii()
        else re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", term.strip())
    )
    escaped = re.sub(r"\s+", r"\\s+", escaped)
    head = r"\b" if term.strip()[:1].isascii() and term.strip()[:1].isalnum() else ""
    tail = r"\b" if term.strip()[-1:].isascii() and term.strip()[-1:].isalnum() else ""
    return f"(?i){head}{escaped}{tail}"
