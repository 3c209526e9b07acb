"""Placeholders: short tags that delimit themselves, `<PERSON_k7dm>`.

The angle brackets end the tag whatever stands beside it, so a tag may stand where a surrogate may not: glued to letters, or for
a value without a known shape. The four characters are drawn from an alphabet without vowels or look-alikes.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.pii.surrogates.draw import Draws

_ALPHABET = "bcdfghjkmnpqrstvwxz23456789"
_PROBES = 64


def tag_candidates(entity: str, draws: Draws) -> Iterator[str]:
    """Tags of four characters (531,441 an entity), after 16 collisions of eight."""
    for probe in range(_PROBES):
        draw = draws.at(probe)
        yield f"<{entity}_{''.join(draw.pick(_ALPHABET) for _ in range(4 if probe < 16 else 8))}>"
