"""Shamir's sharing of 32-byte secrets over the prime field of 2^521 - 1 (a Mersenne prime).

Any `threshold` shares give the secret; fewer give nothing. The polynomial is drawn from `secrets`.
Not covered: a false share. The seeds that come out are checked by the caller where they can be (a mask key has a public half).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

PRIME = 2**521 - 1
SHARE_BYTES = 66
SECRET_BYTES = 32


def split(secret: bytes, threshold: int, holders: Sequence[int]) -> dict[int, bytes]:
    """Shares of a 32-byte secret, one a holder (distinct, >= 1: the abscissa). Raises ValueError on a bad call."""
    if len(secret) != SECRET_BYTES or not 1 <= threshold <= len(holders) or len(set(holders)) != len(holders) or min(holders) < 1:
        raise ValueError("split needs a 32-byte secret, distinct positive holders and a threshold that they can meet")
    coefficients = [int.from_bytes(secret, "big"), *(secrets.randbelow(PRIME) for _ in range(threshold - 1))]
    return {holder: _evaluate(coefficients, holder).to_bytes(SHARE_BYTES, "big") for holder in holders}


def _evaluate(coefficients: Sequence[int], x: int) -> int:
    """Horner's rule."""
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * x + coefficient) % PRIME
    return value


def lagrange_at_zero(holders: Sequence[int]) -> dict[int, int]:
    """The weights that turn the shares of these holders into the secret; computed once for many secrets."""
    weights: dict[int, int] = {}
    for own in holders:
        numerator, denominator = 1, 1
        for other in holders:
            if other != own:
                numerator = numerator * other % PRIME
                denominator = denominator * (other - own) % PRIME
        weights[own] = numerator * pow(denominator, -1, PRIME) % PRIME
    return weights


def combine(shares: Mapping[int, bytes], weights: Mapping[int, int] | None = None) -> bytes:
    """The secret from `threshold` shares. Raises ValueError where the shares do not belong to one 32-byte secret."""
    weights = lagrange_at_zero(tuple(shares)) if weights is None else weights
    value = 0
    for holder, share in shares.items():
        ordinate = int.from_bytes(share, "big")
        if len(share) != SHARE_BYTES or ordinate >= PRIME:
            raise ValueError("a share is malformed")
        value += weights[holder] * ordinate
    value %= PRIME
    if value >= 2 ** (8 * SECRET_BYTES):
        raise ValueError("the shares do not belong to one secret")
    return value.to_bytes(SECRET_BYTES, "big")
