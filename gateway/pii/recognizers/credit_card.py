"""Payment card numbers: an issuer's prefix and length, and Luhn's check digit (ISO/IEC 7812)."""

from __future__ import annotations

from gateway.pii.checksums import luhn
from gateway.pii.recognizers.base import Pattern, PatternRecognizer


class CreditCardRecognizer(PatternRecognizer):
    entity = "CREDIT_CARD"
    patterns = (
        # Digits of any issuer but China UnionPay (62: see cn_bank_card), alone or in groups of four, or 4-6-5 and 4-6-4.
        Pattern(r"\b(?:[34]\d|5[0-9]|6[013-9]|2[2-7]|1[38])\d{10,17}\b", 0.9),
        Pattern(r"\b(?:[34]\d|5[0-9]|6[013-9]|2[2-7]|1[38])\d{2}(?:[ .-]\d{4}){2}[ .-]\d{1,7}\b", 0.95),
        Pattern(r"\b3\d{3}[ .-]\d{6}[ .-]\d{4,5}\b", 0.95),
    )
    apart_from_digits = True

    def validate(self, value: str) -> bool:
        digits = "".join(filter(str.isdigit, value))
        return 12 <= len(digits) <= 19 and len(set(digits)) > 1 and luhn(digits)
