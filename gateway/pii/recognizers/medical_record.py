"""Medical record, patient and insurance member numbers: a code beside the words that name it."""

from __future__ import annotations

from gateway.pii import checksums
from gateway.pii.recognizers.base import Pattern, PatternRecognizer

_LABEL = (
    r"(?:mrn|medical record(?: number| no\.?| #)?|med\.? rec\.?(?: no\.?)?|patient (?:id|number|no\.?|identifier)|"
    r"chart (?:number|no\.?|#)|hospital (?:number|no\.?)|"
    r"member (?:id|number|no\.?)|health (?:plan|insurance|card)(?: id| number| no\.?| beneficiary number)?|"
    r"insurance (?:id|number|no\.?|policy(?: number)?)|"
    r"policy (?:number|no\.?)|nhs (?:number|no\.?)|medicare(?: number| no\.?| id)?|medicaid"
    r"(?: number| no\.?| id)?|case (?:number|no\.?)|accession (?:number|no\.?)|specimen (?:id|number))"
)
_JOIN = r"[\"']?(?: ?(?:is|was|:|#|=|：|为|是|number|no\.?|,|\|)){0,3} ?[\"']?"


class MedicalRecordRecognizer(PatternRecognizer):
    entity = "MEDICAL_RECORD"
    patterns = (
        Pattern(rf"(?i)\b{_LABEL}{_JOIN}([A-Z]{{0,4}}[-# ]?\d[A-Z0-9-]{{3,17}})\b", 0.85, group=1),
        Pattern(r"(?i)\bMRN[-:#]?(\d{4,12})\b", 0.9, group=1),
        Pattern(
            r"(?i)(?:病历号|住院号|门诊号|就诊号|患者编号|医保号|医保卡号|社保卡号)[是为：:]? ?([A-Z]{0,4}-?\d[A-Z0-9-]{3,19})",
            0.9,
            group=1,
        ),
    )

    def validate(self, value: str) -> bool:
        return sum(character.isdigit() for character in value) >= 4


class NhsNumberRecognizer(PatternRecognizer):
    """The NHS number of the United Kingdom in its written groups or in one, with its modulus 11 digit, beside its name."""

    entity = "MEDICAL_RECORD"
    patterns = (Pattern(r"\b\d{3}[ -]?\d{3}[ -]?\d{4}\b", 0.0, with_context=0.9),)
    context_words = ("nhs", "nhs number", "national health service")
    apart_from_digits = True

    def validate(self, value: str) -> bool:
        return checksums.nhs("".join(filter(str.isdigit, value)))
