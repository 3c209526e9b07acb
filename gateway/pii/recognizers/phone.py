"""Telephone numbers, parsed by the phonenumbers library for several regions at once.

A candidate comes from one linear pattern; a number counts when it is possible for a region and looks like a telephone
number (a plus, brackets, groups), or when a word like "call" stands near.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import phonenumbers

from gateway.pii.reading import Found, Reading, compile_pattern
from gateway.pii.recognizers.base import Finding, Pattern, PatternRecognizer

REGIONS = (
    "US",
    "GB",
    "DE",
    "FR",
    "ES",
    "IT",
    "NL",
    "SE",
    "NO",
    "DK",
    "PL",
    "BR",
    "IN",
    "AU",
    "JP",
    "CN",
    "HK",
    "SG",
    "ZA",
    "IL",
    "CH",
    "AT",
    "FI",
    "CZ",
    "HU",
)
_CANDIDATE = r"(?:\+|\b00|\()?(?:\(?\+?\d{1,4}\)?[ ./-]{0,2}){1,7}\d{2,5}(?:[ ,;]{0,2}(?i:x|ext\.?|extension|分机|转) ?\d{1,6})?\b"
_DATE_LIKE = compile_pattern(r"^(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2}))(?:[ T]\d.*)?$")
_NO_PHONE = compile_pattern(r"(?i)(?:isbn|issn|version|v|ean|upc|rfc|sku|p/?n|part(?: no\.?)?|lot|§|pages?|pp\.?)[ :#-]*(?:1[03])?[ :]*$")
_YEARS = compile_pattern(r"^(?:1[89]|20)\d{2}\s?[-/.]\s?(?:1[89]|20)\d{2}$")
_LOCAL = compile_pattern(r"^[2-9]\d{2}-\d{4}$")
_DECIMAL = compile_pattern(r"^\d+\.\d+$")


@lru_cache(maxsize=4096)
def _regions_valid(number: str) -> tuple[bool, bool]:
    """(valid in some region, possible in some region) for a number's digits and plus sign; no text is kept but digits.

    The cache lives in the detector's process and holds at most 4,096 numbers.
    """
    possible = False
    for region in (None,) if number.startswith("+") else REGIONS:
        try:
            parsed = phonenumbers.parse(number, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(parsed):
            return True, True
        possible = possible or phonenumbers.is_possible_number(parsed)
    return False, possible


class PhoneRecognizer(PatternRecognizer):
    entity = "PHONE_NUMBER"
    patterns = (Pattern(_CANDIDATE, 0.5),)
    context_words = (
        "phone", "telephone", "tel", "call", "called", "calling", "mobile", "cell", "cellphone", "fax", "contact", "dial", "ring", "text",
        "sms", "whatsapp", "landline", "hotline", "reach me", "voicemail", "pager", "phone number",
        "电话", "手机", "座机", "传真", "联系方式", "致电", "拨打", "热线",
    )  # fmt: skip

    def find(self, reading: Reading) -> Iterator[Finding]:
        text = reading.text
        for compiled, _ in self._compiled:
            for found in reading.matches(compiled):
                start, end = found.start, found.end
                value = text[start:end]
                if value.startswith("(") and ")" not in value:
                    start += 1
                    value = value[1:]
                score = self._score(reading, Found(start, end), value)
                if score > 0:
                    yield Finding(start, end, self.entity, score)

    def _score(self, reading: Reading, found: Found, value: str) -> float:
        text, start = reading.text, found.start
        if found.start and ((text[found.start - 1].isalnum() and text[found.start - 1].isascii()) or text[found.start - 1] in "_#$€£"):
            return 0.0
        if found.end < len(text) and (
            text[found.end : found.end + 1] in "%_°" or (text[found.end] in ".:" and text[found.end + 1 : found.end + 2].isdigit())
        ):
            return 0.0
        main = _main_part(value)
        digits = "".join(filter(str.isdigit, main))
        plus = main.startswith(("+", "(+")) or (main.startswith("00") and len(digits) > 9)
        if (
            not 7 <= len(digits) <= 15
            or len(set(digits)) == 1
            or _DATE_LIKE.match(main.encode())
            or _DECIMAL.match(main.encode())
            or _YEARS.match(main.encode())
        ):
            return 0.0
        grouped = any(not character.isdigit() for character in main.strip("+"))
        near = self.near(reading, found)
        valid, possible = _regions_valid(("+" if plus else "") + (digits[2:] if main.startswith("00") else digits))
        if plus:
            return 0.95 if valid else 0.75 if len(digits) >= 8 else 0.0
        if near:
            return 0.85 if valid or possible else 0.5
        if grouped:
            if not _telephone_shape(main) or reading.has(_NO_PHONE, start - 12, start):
                return 0.0
            if len(digits) >= 9:
                return 0.75 if valid else 0.5
            return 0.45 if valid or _LOCAL.match(main.encode()) else 0.0
        trunk = main.startswith("0") and 9 <= len(digits) <= 11
        return 0.45 if valid and trunk else 0.4 if len(digits) in (10, 11) and _valid_in_north_america(digits) else 0.0


def _valid_in_north_america(digits: str) -> bool:
    """Ten bare digits are a number to read out in North America; elsewhere they are more often something else."""
    return phonenumbers.is_valid_number(phonenumbers.parse(digits, "US"))


def _main_part(value: str) -> str:
    """The number without its extension."""
    for index, character in enumerate(value):
        if character in "xXeE,;分转":
            return value[:index].strip()
    return value


def _telephone_shape(main: str) -> bool:
    """Groups as people write telephone numbers: two to six groups of 2 to 5 digits, one kind of separator besides brackets."""
    separators = {character for character in main.replace("/", "", 1) if character in "./-"}
    groups = "".join(character if character.isdigit() else " " for character in main).split()
    if "." in separators and " " in main.strip() and "(" not in main:
        return False  # 19.99 239.88
    longest = 9 if main.startswith("(") else 8  # "(351) 930433218"
    return len(separators) <= 1 and 2 <= len(groups) <= 6 and all(1 <= len(group) <= longest for group in groups) and len(groups[-1]) >= 2
