"""Surrogates of checked numbers: cards, IBANs, social security, resident identity and similar.

Each one passes its own checksum, so that a model or a tool treats it as the real thing, and lies in a range that is a published
test range or is never issued. Sources stand beside the ranges. It does NOT promise that a range stays unissued for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gateway.pii.surrogates.base import digits_of, fill_digits, plain_canonical
from gateway.pii.surrogates.draw import Draw, Draws

_PROBES = 64

# Prefixes of the card schemes' published test numbers, by the leading digits of the real card.
_CARD_TEST_PREFIXES = (
    ("34", "378282"), ("37", "378282"), ("30", "30569300"), ("36", "36227206"), ("38", "30569300"), ("35", "35660020"),
    ("62", "62000000"), ("65", "60110009"), ("60", "60110009"), ("2", "22230000"), ("4", "40000000"), ("5", "55555555"),
)  # fmt: skip

# Area codes 900 to 999 are never issued as SSN; as ITIN they are issued with the groups 50-65, 70-88, 90-92, 94-99 and as ATIN
# with 93 (IRS Publication 1915). Groups 01 to 49 are neither; 66 to 69 are no ITIN.
_ITIN_FREE_GROUPS = (66, 67, 68, 69)

_RESIDENT_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643-1999
_RESIDENT_CHECK = "10X98765432"
_USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"  # GB 32100-2015
_USCC_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)


def luhn_digit(body: str) -> str:
    """The check digit of ISO/IEC 7812-1 for a body of digits."""
    total = 0
    for index, ch in enumerate(reversed(body)):
        digit = int(ch) * (2 if index % 2 == 0 else 1)
        total += digit - 9 if digit > 9 else digit
    return str(-total % 10)


def luhn_valid(number: str) -> bool:
    return len(number) > 1 and luhn_digit(number[:-1]) == number[-1]


def mod97(text: str) -> int:
    """ISO 7064 MOD 97 of letters (A=10 .. Z=35) and digits."""
    return int("".join(str(int(ch, 36)) for ch in text)) % 97


def iban_valid(iban: str) -> bool:
    return len(iban) > 4 and iban.isalnum() and iban.isascii() and mod97(iban[4:] + iban[:4]) == 1


def resident_check(body: str) -> str:
    """The check character of an 18-digit Chinese resident identity number (ISO 7064 MOD 11-2)."""
    return _RESIDENT_CHECK[sum(int(ch) * weight for ch, weight in zip(body, _RESIDENT_WEIGHTS, strict=True)) % 11]


def uscc_check(body: str) -> str:
    """The check character of a unified social credit code (MOD 31)."""
    total = sum(_USCC_ALPHABET.index(ch) * weight for ch, weight in zip(body, _USCC_WEIGHTS, strict=True))
    return _USCC_ALPHABET[-total % 31]


class DigitNumber:
    """A number that is its digits: grouping is kept, `make` draws the new digits from the old, None for a shape that it doesn't know."""

    def __init__(self, make: Callable[[str, Draw], str | None]) -> None:
        self._make = make

    def canonical(self, value: str) -> str:
        return digits_of(value)

    def candidates(self, value: str, draws: Draws) -> Iterator[str]:
        digits = digits_of(value)
        for probe in range(_PROBES):
            token = self._make(digits, draws.at(probe)) if digits else None
            if token is None:
                return
            if token != digits:
                yield token

    def render(self, token: str, value: str) -> str:
        return fill_digits(value, token)


class CodeNumber:
    """A code of ASCII letters and digits: spaces and dashes are kept, `make` draws the new code from the old (upper case)."""

    def __init__(self, make: Callable[[str, Draw], str | None]) -> None:
        self._make = make

    def canonical(self, value: str) -> str:
        return "".join(ch for ch in plain_canonical(value).upper() if ch.isalnum())

    def candidates(self, value: str, draws: Draws) -> Iterator[str]:
        code = self.canonical(value)
        for probe in range(_PROBES):
            token = self._make(code, draws.at(probe))
            if token is None:
                return
            if token != code:
                yield token

    def render(self, token: str, value: str) -> str:
        places = [index for index, ch in enumerate(value) if ch.isalnum()]
        if len(places) != len(token):
            return token
        out = list(value)
        lower = value.islower()
        for index, ch in zip(places, token, strict=True):
            out[index] = ch.lower() if lower else ch
        return "".join(out)


def _card(digits: str, draw: Draw) -> str | None:
    if not 12 <= len(digits) <= 19:
        return None
    prefix = next((test for lead, test in _CARD_TEST_PREFIXES if digits.startswith(lead)), "40000000")
    body = prefix + draw.digits(len(digits) - len(prefix) - 1)
    return body + luhn_digit(body)


def _ssn(digits: str, draw: Draw) -> str | None:
    if len(digits) == 9:
        return f"9{draw.below(100):02d}{draw.between(1, 49):02d}{draw.between(1, 9999):04d}"
    return f"{draw.between(1, 9999):04d}" if len(digits) == 4 else None


def _itin(digits: str, draw: Draw) -> str | None:
    return f"9{draw.below(100):02d}{draw.pick(_ITIN_FREE_GROUPS)}{draw.between(1, 9999):04d}" if len(digits) == 9 else None


def _nhs(digits: str, draw: Draw) -> str | None:
    """999 is the NHS's own test prefix; the check digit is modulus 11, and 10 is not used."""
    if len(digits) != 10:
        return None
    while True:
        body = "999" + draw.digits(6)
        check = -sum(int(ch) * weight for ch, weight in zip(body, range(10, 1, -1), strict=True)) % 11
        if check != 10:
            return body + str(check)


def _iban(code: str, draw: Draw) -> str | None:
    """Same country and length. The bank's own part is X and 0 throughout, which no bank has."""
    if not (15 <= len(code) <= 34 and code[:2].isalpha() and code.isascii()):
        return None
    bban = [_like(ch, draw) for ch in code[4:]]
    for index in range(min(5, len(bban) - 6)):
        bban[index] = "0" if bban[index].isdigit() else "X"
    body = "".join(bban)
    return f"{code[:2]}{98 - mod97(body + code[:2] + '00'):02d}{body}"


def _resident_id(code: str, draw: Draw) -> str | None:
    """Region codes that begin with 99 are not assigned (GB/T 2260); the birth date is of the same decade."""
    if len(code) != 18 or not (code[:17].isascii() and code[:17].isdigit()):
        return None
    year = int(code[6:10]) // 10 * 10 + draw.below(10)
    body = f"99{draw.digits(4)}{year:04d}{draw.between(1, 12):02d}{draw.between(1, 28):02d}{draw.digits(3)}"
    return body + resident_check(body)


def _uscc(code: str, draw: Draw) -> str | None:
    if len(code) != 18 or not set(code) <= set(_USCC_ALPHABET):
        return None
    body = code[:2] + "99" + draw.digits(4) + "".join(draw.pick(_USCC_ALPHABET) for _ in range(9))
    return body + uscc_check(body)


def _plate(code: str, draw: Draw) -> str | None:
    """A Chinese licence plate's second character is a letter, never I."""
    if len(code) not in (7, 8) or not "\u4e00" <= code[0] <= "\u9fff":
        return None
    return draw.pick("京津沪渝冀豫云辽黑湘皖鲁苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼") + "I" + "".join(_like(ch, draw) for ch in code[2:])


def _like(ch: str, draw: Draw) -> str:
    return chr(48 + draw.below(10)) if ch.isdigit() else chr(65 + draw.below(26)) if ch.isalpha() else ch


CARD = DigitNumber(_card)
SSN = DigitNumber(_ssn)
ITIN = DigitNumber(_itin)
NHS = DigitNumber(_nhs)
IBAN = CodeNumber(_iban)
RESIDENT_ID = CodeNumber(_resident_id)
USCC = CodeNumber(_uscc)
PLATE = CodeNumber(_plate)
