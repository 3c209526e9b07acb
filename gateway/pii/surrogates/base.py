"""What a surrogate generator gives: canonical form, candidates, rendering.

The vault knows a value by its canonical form and keeps a canonical token for it, so that "4111 1111 1111 1111" and
"4111111111111111" are one value with one token; rendering puts the token into the shape in which the value was written.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Protocol

from gateway.pii.surrogates.draw import Draws


class Generator(Protocol):
    """One family of surrogates. `candidates` is empty where the value has no shape that this family knows."""

    def canonical(self, value: str) -> str:
        """Equal for the ways in which one value is written."""
        ...

    def candidates(self, value: str, draws: Draws) -> Iterator[str]:
        """Canonical tokens in keyed order; distinct, finite, never equal to the value."""
        ...

    def render(self, token: str, value: str) -> str:
        """The canonical token in the shape (case, grouping) of this writing of the value."""
        ...


def plain_canonical(value: str) -> str:
    """Case, width and spacing folded."""
    return " ".join(unicodedata.normalize("NFKC", value).casefold().split())


def digits_of(value: str) -> str:
    """The ASCII digits of a value."""
    return "".join(ch for ch in value if ch in "0123456789")


def fill_digits(shape: str, digits: str) -> str:
    """`shape` with its last len(digits) digits replaced in order; the digits alone where it has fewer."""
    places = [index for index, ch in enumerate(shape) if ch in "0123456789"]
    if len(places) < len(digits):
        return digits
    out = list(shape)
    for index, digit in zip(places[len(places) - len(digits) :], digits, strict=True):
        out[index] = digit
    return "".join(out)


def like_case(word: str, model: str) -> str:
    """`word` in the case of `model`: upper, lower, or as it is."""
    if model.isupper() and len(model) > 1:
        return word.upper()
    if model.islower():
        return word.lower()
    return word
