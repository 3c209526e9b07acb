"""Medical record, patient and insurance member numbers: a code beside the words that name it."""

from __future__ import annotations

from gateway.pii.recognizers.base import Pattern, PatternRecognizer

_LABEL = (
    r"(?:mrn|medical record(?: number| no\.?| #)?|med\.? rec\.?(?: no\.?)?|patient (?:id|number|no\.?|identifier)|chart (?:number|no\.?|#)|hospital (?:number|no\.?)|"
    r"member (?:id|number|no\.?)|health (?:plan|insurance|card)(?: id| number| no\.?| beneficiary number)?|insurance (?:id|number|no\.?|policy(?: number)?)|"
    r"policy (?:number|no\.?)|nhs (?:number|no\.?)|medicare(?: number| no\.?| id)?|medicaid(?: number| no\.?| id)?|case (?:number|no\.?)|accession (?:number|no\.?)|specimen (?:id|number))"
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
        # The UK's NHS number in its written groups; its mod 11 digit is checked below.
        Pattern(r"\b\d{3}[ -]\d{3}[ -]\d{4}\b", 0.0, with_context=0.9),
    )
    context_words = ("nhs", "nhs number", "national health service")

    def validate(self, value: str) -> bool:
        return sum(character.isdigit() for character in value) >= 4
