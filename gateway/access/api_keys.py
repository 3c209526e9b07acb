"""An API key is 256 random bits that are shown once; what is kept is a keyed hash.

The hash is HMAC-SHA-256 (RFC 2104) under a key from the settings, so that the store alone tells nobody whether a guess
is right. A slow password hash is not needed: a key that LLMOS makes has 256 bits of entropy. A key that somebody sets
by hand (LLMOS_DEV_KEY) has only what they gave it.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field

PREFIX = "llmos-"
MAX_KEY_CHARS = 512


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key at the moment of its making: the only time that its text exists here."""

    key_id: str
    text: str = field(repr=False)


def new_key_id() -> str:
    """96 random bits as `key_…`; public, safe to log."""
    return "key_" + secrets.token_hex(12)


def new_secret() -> str:
    """The text of a new key, with 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


class KeyHasher:
    """The keyed hash of presented keys."""

    def __init__(self, hash_key: bytes) -> None:
        """`hash_key` is at least 32 bytes, derived from the master key for this purpose alone."""
        if len(hash_key) < 32:
            raise ValueError("the hash key of API keys needs at least 32 bytes")
        self._hash_key = hash_key

    def __call__(self, text: str) -> str:
        """HMAC-SHA-256 of the text, as 64 hexadecimal digits."""
        return hmac.digest(self._hash_key, text.encode("utf-8", "surrogatepass"), "sha256").hex()


def same_hash(one: str, two: str) -> bool:
    """Compare two hashes in time that does not depend on where they differ."""
    return hmac.compare_digest(one.encode(), two.encode())
