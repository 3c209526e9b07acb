"""Driver's and professional licence numbers: a code beside the words that name it."""

from __future__ import annotations

from gateway.pii.recognizers.base import Pattern, PatternRecognizer

_LABEL = (
    r"(?:driver'?s?'? ?licen[cs]es?(?: number| no\.?| #| id)?|driving licen[cs]e(?: number| no\.?)?|licen[cs]e "
    r"(?:number|no\.?|#|plate)|dl ?(?:number|no\.?|#)|"
    r"\bdea(?: number| no\.?| #)|npi(?: number)?|certificate (?:number|no\.?)|registration (?:number|no\.?)|"
    r"permit (?:number|no\.?)|bar (?:number|no\.?))"
)


class LicenceRecognizer(PatternRecognizer):
    entity = "LICENSE_NUMBER"
    patterns = (
        Pattern(
            rf"(?i)\b{_LABEL}[\"']?(?: ?(?:is|was|are|:|#|=|：|number|no\.?|,|\|)){{0,3}} ?[\"']?([A-Z]{{0,5}}[- ]?\d[A-Z0-9-]{{3,18}})\b",
            0.8,
            group=1,
        ),
        Pattern(
            r"(?i)(?:驾驶证号?码?|驾照号?码?|执业证书?编?号|许可证号|律师证号|医师资格证书?号)[是为：:]? ?([A-Z0-9-]{6,24})", 0.85, group=1
        ),
        Pattern(r"\b[A-Z]{1,2}\d{5,14}\b", 0.0, with_context=0.6),
    )
    context_words = (
        "driver license",
        "driver's license",
        "drivers license",
        "driving licence",
        "driving license",
        "driver licence",
        "licence number",
        "license number",
        "dmv",
        "驾驶证",
        "驾照",
    )

    def validate(self, value: str) -> bool:
        return sum(character.isdigit() for character in value) >= 4
