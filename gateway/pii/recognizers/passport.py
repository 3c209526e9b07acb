"""Passport numbers: a national shape beside the word passport, and the machine-readable zone (ICAO 9303)."""

from __future__ import annotations

from gateway.pii.recognizers.base import Pattern, PatternRecognizer


class PassportRecognizer(PatternRecognizer):
    entity = "PASSPORT"
    patterns = (
        Pattern(
            r"(?i)\bpassport(?: (?:number|no\.?|#|num|id))?[\"']?(?: ?(?:is|was|:|#|=|：|number|no\.?|,|\|)){0,3} ?[\"']?"
            r"([A-Z]{0,3}\d{5,9}[A-Z]{0,2}\d?)\b",
            0.9,
            group=1,
        ),
        Pattern(r"\b[A-Z]{1,2}\d{6,8}\b|\b\d{9}\b|\b\d{2}[A-Z]{2}\d{5}\b", 0.0, with_context=0.75),
        Pattern(r"\bP[A-Z<][A-Z]{3}[A-Z<]{39}\n[A-Z0-9<]{44}", 0.95),
    )
    context_words = ("passport", "passports", "passport number", "travel document", "passeport", "reisepass", "pasaporte")


class CnPassportRecognizer(PatternRecognizer):
    """E, G, D, S, P and H series of the People's Republic of China."""

    entity = "CN_PASSPORT"
    patterns = (
        Pattern(r"(?i)护照(?:号码?|号)?[是为：:\"']{0,3} ?([A-Z]{1,2}\d{7,8})", 0.95, group=1),
        Pattern(r"\b(?:E[A-HJ-NP-Z]\d{7}|[EGDSPH]\d{8})\b", 0.0, with_context=0.8),
    )
    context_words = ("护照", "passport", "chinese passport", "出入境")
