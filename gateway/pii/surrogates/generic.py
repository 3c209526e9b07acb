"""Surrogates of codes and secrets: the same alphabet, the same length, the same separators.

For values without a structure that can be validated: record numbers, licences, keys, tokens, wallets. Letters become letters of
the same case, digits digits, everything else stays; a known prefix of a secret (sk-, AKIA, ghp_) stays, so that a model
still sees what it is. It does NOT take the result from a never-issued range, since there is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.pii.surrogates.draw import Draw, Draws

_PROBES = 64
_LOWER = "abcdefghijklmnopqrstuvwxyz"
_UPPER = _LOWER.upper()
_SECRET_PREFIX = re.compile(
    r"(?:sk-(?:proj-|ant-|live-|test-)?|[sprw]k_(?:live|test)_|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|AKIA|ASIA|AIza|eyJ|hf_|npm_|0x|bc1|"
    r"-----BEGIN [A-Z ]+-----\s*)"
)
_SECRET_SUFFIX = re.compile(r"\s*-----END [A-Z ]+-----\s*$")


def same_alphabet(text: str, draw: Draw) -> str:
    """Each ASCII letter and digit drawn anew within its class; hexadecimal text stays hexadecimal."""
    lower, upper = _LOWER, _UPPER
    letters = {ch for ch in text if ch.isalpha()}
    if len(text) >= 8 and letters <= set("abcdefABCDEF") and any(ch.isdigit() for ch in text):
        lower, upper = "abcdef", "ABCDEF"
    out = []
    for ch in text:
        if "0" <= ch <= "9":
            out.append(chr(48 + draw.below(10)))
        elif "a" <= ch <= "z":
            out.append(draw.pick(lower))
        elif "A" <= ch <= "Z":
            out.append(draw.pick(upper))
        else:
            out.append(ch)
    return "".join(out)


class Code:
    """A code of ASCII letters, digits and separators. Text with spaces between words, or of other scripts, is none."""

    def __init__(self, *, secret: bool = False) -> None:
        self._secret = secret

    def canonical(self, value: str) -> str:
        return value

    def candidates(self, value: str, draws: Draws) -> Iterator[str]:
        drawn = sum(ch.isalnum() for ch in value)
        if not value.isascii() or drawn < 3 or (not self._secret and not any(ch.isdigit() for ch in value)):
            return
        prefix = _SECRET_PREFIX.match(value) if self._secret else None
        start = prefix.end() if prefix else 0
        suffix = _SECRET_SUFFIX.search(value, start) if self._secret else None
        end = suffix.start() if suffix else len(value)
        if not any(ch.isalnum() for ch in value[start:end]):
            start, end = 0, len(value)
        for probe in range(_PROBES):
            token = value[:start] + same_alphabet(value[start:end], draws.at(probe)) + value[end:]
            if token != value:
                yield token

    def render(self, token: str, value: str) -> str:
        return token


CODE = Code()
SECRET = Code(secret=True)
