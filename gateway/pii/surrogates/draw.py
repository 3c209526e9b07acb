"""Keyed draws turn an HMAC into the choices of one surrogate.

Every choice of a surrogate (a name of a list, a digit) comes from HMAC-SHA-512 under the conversation's key over the entity, the
normalised value and the number of the probe, so that the same value gives the same probes in each turn. It is a PRF, not a
permutation: that two values don't share a surrogate is the vault's duty.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Iterator, Sequence
from typing import TypeVar

_T = TypeVar("_T")
_DIGEST_BITS = 512
_LEAST_BITS = 96  # refill below: the bias of a draw stays under 2^-32 for every range in use


class Draw:
    """A stream of uniform choices from one HMAC key and label."""

    __slots__ = ("_bits", "_block", "_key", "_label", "_pool")

    def __init__(self, key: bytes, label: bytes) -> None:
        self._key = key
        self._label = label
        self._block = 0
        self._bits = 0
        self._pool = 0

    def below(self, bound: int) -> int:
        """A number in [0, bound), 1 <= bound <= 2^64."""
        if self._bits < _LEAST_BITS:
            message = self._block.to_bytes(4, "big") + self._label
            self._pool = int.from_bytes(hmac.digest(self._key, message, hashlib.sha512), "big")
            self._block += 1
            self._bits = _DIGEST_BITS
        self._pool, choice = divmod(self._pool, bound)
        self._bits -= bound.bit_length()
        return choice

    def pick(self, choices: Sequence[_T]) -> _T:
        return choices[self.below(len(choices))]

    def between(self, low: int, high: int) -> int:
        """A number in [low, high]."""
        return low + self.below(high - low + 1)

    def digits(self, count: int) -> str:
        return "".join(chr(48 + self.below(10)) for _ in range(count))


class Draws:
    """The draws of one value: `at(i)` is the i-th probe's, `order(n)` a keyed order of all of 0..n-1."""

    __slots__ = ("_key", "_label")

    def __init__(self, key: bytes, label: bytes) -> None:
        self._key = key
        self._label = label

    def at(self, probe: int) -> Draw:
        return Draw(self._key, probe.to_bytes(4, "big") + self._label)

    def shared(self) -> Draw:
        """A draw that is the same for every value of the conversation (a common shift of dates)."""
        return Draw(self._key, b"llmos/shared")

    def initials(self) -> Draw:
        """The conversation's draw for the letters that stand for initials."""
        return Draw(self._key, b"llmos/initials")

    def order(self, size: int) -> Iterator[int]:
        """Each index once, from a keyed start with a keyed step that is coprime to the size (double hashing)."""
        draw = self.at(0)
        index = draw.below(size)
        step = 1 + draw.below(max(size - 1, 1))
        while math.gcd(step, size) != 1:
            step = step % size + 1
        for _ in range(size):
            yield index
            index = (index + step) % size
