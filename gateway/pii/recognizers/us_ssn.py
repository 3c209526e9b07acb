"""United States social security numbers: the areas, groups and serials that are issued (20 CFR 422.103, SSA's rules)."""

from __future__ import annotations

from gateway.pii.recognizers.base import Pattern, PatternRecognizer


class UsSsnRecognizer(PatternRecognizer):
    entity = "US_SSN"
    patterns = (
        Pattern(r"\b\d{3}-\d{2}-\d{4}\b", 0.85, with_context=0.95),
        Pattern(r"\b\d{3}[ .]\d{2}[ .]\d{4}\b", 0.45, with_context=0.9),
        Pattern(r"\b\d{9}\b", 0.0, with_context=0.7),
    )
    context_words = (
        "ssn",
        "ssns",
        "social security",
        "social security number",
        "soc sec",
        "ss#",
        "itin",
        "taxpayer",
        "社会安全号",
        "社保号",
    )
    apart_from_digits = True

    def validate(self, value: str) -> bool:
        digits = "".join(filter(str.isdigit, value))
        area, group, serial = digits[:3], digits[3:5], digits[5:]
        # 9xx are taxpayer numbers (ITIN): as personal as an SSN, same shape.
        return area not in ("000", "666") and group != "00" and serial != "0000" and len(set(digits)) > 1
