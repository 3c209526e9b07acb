"""Check digits of identity and account numbers, each by the standard that defines it.

A valid check digit is evidence, not proof: one random number in ten passes Luhn.
"""

from __future__ import annotations

_MOD11_2_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_MOD11_2_DIGITS = "10X98765432"
_USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1 annex B: whether a digit string ends with its check digit."""
    if not digits.isascii() or not digits.isdigit():
        return False
    total = 0
    for index, character in enumerate(reversed(digits)):
        value = int(character) * (1 + index % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def mod97(account: str) -> bool:
    """ISO 13616 (IBAN), by ISO 7064 MOD 97-10: letters and digits without spaces, country and check digits first."""
    if not account.isascii() or not account.isalnum() or len(account) < 5:
        return False
    rearranged = account[4:] + account[:4]
    return int("".join(str(int(character, 36)) for character in rearranged)) % 97 == 1


def mod11_2(number: str) -> bool:
    """GB 11643-1999, by ISO 7064 MOD 11-2: 17 digits and a check character (0 to 9 or X)."""
    number = number.upper()
    if len(number) != 18 or not number.isascii() or not number[:17].isdigit():
        return False
    total = sum(weight * int(digit) for weight, digit in zip(_MOD11_2_WEIGHTS, number, strict=False))
    return _MOD11_2_DIGITS[total % 11] == number[17]


def nhs(digits: str) -> bool:
    """NHS Data Dictionary, NHS NUMBER: ten digits, the last by modulus 11 over weights 10 to 2.

    A number whose check would be 10 is never issued.
    """
    if len(digits) != 10 or not digits.isascii() or not digits.isdigit():
        return False
    total = sum(weight * int(digit) for weight, digit in zip(range(10, 1, -1), digits, strict=False))
    return (11 - total % 11) % 11 == int(digits[9])


def uscc(code: str) -> bool:
    """GB 32100-2015: 18 characters of a 31-character alphabet, the last by ISO 7064 MOD 31-3."""
    code = code.upper()
    if len(code) != 18 or any(character not in _USCC_ALPHABET for character in code):
        return False
    total = sum(pow(3, index, 31) * _USCC_ALPHABET.index(character) for index, character in enumerate(code[:17]))
    return _USCC_ALPHABET[(31 - total % 31) % 31] == code[17]
