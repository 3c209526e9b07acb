"""Crypto wallet addresses: Bitcoin by its checksums (Base58Check, Bech32 of BIP 173 and 350), Ethereum and others by shape."""

from __future__ import annotations

import hashlib

from gateway.pii.recognizers.base import Pattern, PatternRecognizer

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def _base58check(address: str) -> bool:
    number = 0
    for character in address:
        number = number * 58 + _BASE58.index(character)
    if number.bit_length() > 200:
        return False
    raw = number.to_bytes(25, "big")
    return hashlib.sha256(hashlib.sha256(raw[:21]).digest()).digest()[:4] == raw[21:]


def _bech32(address: str) -> bool:
    address = address.lower()
    prefix, _, data = address.rpartition("1")
    if not prefix or any(character not in _BECH32 for character in data):
        return False
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + [_BECH32.index(c) for c in data]
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit in range(5):
            check ^= _GENERATOR[bit] if top >> bit & 1 else 0
    return check in (1, 0x2BC830A3)


class CryptoRecognizer(PatternRecognizer):
    entity = "CRYPTO"
    patterns = (
        Pattern(r"\b[13][1-9A-HJ-NP-Za-km-z]{25,34}\b", 0.95),
        Pattern(r"\b(?:bc1|tb1|BC1|TB1|ltc1)[02-9ac-hj-np-zAC-HJ-NP-Z]{11,71}\b", 0.95),
        Pattern(r"\b0x[0-9a-fA-F]{40}\b", 0.85),
        Pattern(r"\bT[1-9A-HJ-NP-Za-km-z]{33}\b", 0.9),
        Pattern(r"\b[LM][1-9A-HJ-NP-Za-km-z]{26,33}\b", 0.9),
        Pattern(r"\b4[0-9AB][1-9A-HJ-NP-Za-km-z]{93}\b", 0.85),
    )

    def validate(self, value: str) -> bool:
        if value[:2] == "0x" or len(value) == 95:
            return True
        if value[:3].lower() in ("bc1", "tb1", "ltc"):
            return _bech32(value)
        return all(character in _BASE58 for character in value) and _base58check(value)
