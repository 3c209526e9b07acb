"""Numbers that Chinese authorities, carriers and banks give out, each with its check where one exists."""

from __future__ import annotations

import datetime

from gateway.pii import checksums
from gateway.pii.reading import Found, Reading
from gateway.pii.recognizers.base import Pattern, PatternRecognizer

_FAILED_CHECK_SCORE = 0.5


class CnResidentIdRecognizer(PatternRecognizer):
    """GB 11643-1999: a region, a date of birth, a sequence, the mod 11-2 check.

    A number whose check fails is a mistyped one only where a word for it stands near, and then less sure.
    """

    entity = "CN_RESIDENT_ID"
    patterns = (
        Pattern(r"\b[1-9]\d{5}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[0-9Xx]\b", 0.95),
        Pattern(r"\b[1-9]\d{5} (?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]) \d{3}[0-9Xx]\b", 0.95),
    )
    context_words = (
        "身份证",
        "身份证号",
        "居民身份",
        "证件号",
        "公民身份号码",
        "id card",
        "identity card",
        "resident id",
        "id number",
        "shenfenzheng",
    )

    def validate(self, value: str) -> bool:
        value = value.replace(" ", "")
        try:
            datetime.date(int(value[6:10]), int(value[10:12]), int(value[12:14]))
        except ValueError:
            return False
        return True

    def score(self, reading: Reading, found: Found, pattern: Pattern) -> float:
        if checksums.mod11_2(reading.text[found.start : found.end].replace(" ", "")):
            return pattern.score
        return _FAILED_CHECK_SCORE if self.near(reading, found) else 0.0


class CnMobileRecognizer(PatternRecognizer):
    """Eleven digits from 13 to 19, with or without +86 and groups."""

    entity = "CN_MOBILE"
    patterns = (
        Pattern(r"(?:\+86|\b0086|\b86)?[ -]?\b1[3-9]\d{9}\b", 0.8),
        Pattern(r"(?:\+86|\b0086|\b86)?[ -]?\b1[3-9]\d[ -]\d{4}[ -]\d{4}\b", 0.85),
        Pattern(r"\+861[3-9]\d{9}\b", 0.9),
    )
    apart_from_digits = True


class CnBankCardRecognizer(PatternRecognizer):
    """China UnionPay: prefix 62 (16 to 19 digits), Luhn; other prefixes beside the words for a bank card."""

    entity = "CN_BANK_CARD"
    patterns = (
        Pattern(r"\b62\d{14,17}\b", 0.95),
        Pattern(r"\b62\d{2}(?:[ -]\d{4}){3}(?:[ -]\d{1,3})?\b", 0.95),
        Pattern(r"\b[3-9]\d{15,18}\b", 0.0, with_context=0.9),
    )
    context_words = ("银行卡", "卡号", "储蓄卡", "借记卡", "信用卡", "账号", "账户", "开户", "bank card")
    apart_from_digits = True

    def validate(self, value: str) -> bool:
        return checksums.luhn("".join(filter(str.isdigit, value)))


class CnUsccRecognizer(PatternRecognizer):
    """GB 32100-2015, with its check character."""

    entity = "CN_USCC"
    patterns = (Pattern(r"\b[1-9ANY][1239][0-9]{6}[0-9A-HJ-NPQRTUWXY]{10}\b", 0.9),)

    def validate(self, value: str) -> bool:
        return checksums.uscc(value)


class CnLicensePlateRecognizer(PatternRecognizer):
    """GA 36: a province's character, a letter, five or (new energy) six characters."""

    entity = "CN_LICENSE_PLATE"
    patterns = (
        Pattern(
            r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-HJ-NP-Z][ ·・-]?"
            r"(?:[DF][A-HJ-NP-Z0-9]\d{4}|\d{5}[DF]|[A-HJ-NP-Z0-9]{4}[A-HJ-NP-Z0-9挂学警港澳])",
            0.9,
        ),
    )

    def validate(self, value: str) -> bool:
        return any(character.isdigit() for character in value)
