"""Postal addresses in Latin script: a street with a number, and the unit, place, state and postcode that follow it."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.pii.reading import Reading, compile_pattern
from gateway.pii.recognizers.base import Finding, Pattern, PatternRecognizer
from gateway.pii.recognizers.zip_code import US_STATES

# Kinds of streets that end a street's name in English (USPS Publication 28, appendix C1, and British use).
_SUFFIX = (
    r"(?:street|str|st|avenue|ave|av|road|rd|boulevard|blvd|drive|dr|lane|ln|court|ct|place|pl|square|sq|terrace|"
    r"ter|way|circle|cir|highway|hwy|parkway|"
    r"pkwy|trail|trl|close|crescent|cres|alley|row|walk|mews|gardens|grove|plaza|loop|turnpike|tpke|pike|expressway|freeway|path|"
    r"crossing|hill|heights|ridge|view|vista|point|park|green|quay|wharf|parade|esplanade|gate|rise|bend|run|cove|"
    r"landing|estates?|glen|hollow|island|isle|"
    r"junction|knoll|manor|meadows?|mill|mount|orchard|overpass|pass|passage|pine|plains?|ranch|route|shore|"
    r"springs?|spur|summit|trace|track|tunnel|union|"
    r"valley|village|ville|well|wells|broadway|bypass|causeway|common|corner|creek|dale|field|fields|flats?|ford|"
    r"forest|fork|harbor|haven|key|lake|light|lodge)"
)
_SURE_SUFFIX = (
    r"(?i:street|str|avenue|ave|road|rd|boulevard|blvd|lane|ln|drive|parkway|pkwy|highway|hwy|terrace|crescent|"
    r"crossroad|square|court|st|dr|ct|way|place)"
)
_NUMBER = r"(?:\d{1,6}(?:[-/]\d{1,5})?[A-Za-z]?)"
_WORD = r"(?:[\p{Lu}][\p{L}'’.-]+|\d{1,3}(?:st|nd|rd|th))"
_DIRECTION = r"(?:[NSEW]\.?|[NS][EW]|North|South|East|West|Northeast|Northwest|Southeast|Southwest)"
_UNIT = (
    r"(?:(?i:apt|apartment|suite|ste|unit|room|rm|floor|fl|flat|bldg|building|#|no\.?|p\.?o\.? ?box|box|lot|"
    r"level)\.? ?#?[A-Za-z]?\d{0,5}[A-Za-z]?-?\d{0,4})"
)
_TAIL = rf"(?:(?:,? *\n?|, )(?:{_UNIT}))?"
# Streets whose kind stands in one word with the name, or before it, in other languages of Latin script.
_JOINED = (
    r"(?:[\p{Lu}][\p{L}-]+(?:straße|strasse|straat|strasze|str\.|gasse|gaten|gata|gatan|gade|vej|vägen|veien|weg|"
    r"allee|allé|platz|plein|laan|"
    r"kade|gracht|dijk|ring|damm|ufer|stien|katu|tie|kuja|utca|út|útja|tér|stræde|plads|plass|torg|steeg|singel|hof|dreef|lei))"
)
_BEFORE = (
    r"(?:(?i:rue|avenue|av\.?|allée|chemin|place|quai|boulevard|bd|impasse|cours|via|viale|piazza|corso|largo|"
    r"vicolo|strada|calle|c/|avenida|avda\.?|plaza|paseo|camino|carrer|rúa|"
    r"ronda|rua|travessa|praça|estrada|ul\.|ulica|al\.|os\.|pl\.|ulitsa|rruga|str\.|strada|bulevardul|jalan|jl\.?))"
)
_PARTICLE = r"(?:(?:de|du|des|la|le|les|del|della|delle|dei|di|da|do|dos|das|los|las|el|van|der|den|l'|d'|von|zum|zur|am|im|y|e) ?){0,3}"


class StreetAddressRecognizer(PatternRecognizer):
    entity = "STREET_ADDRESS"
    patterns = (
        # 221B Baker Street, 1600 N. Pennsylvania Ave NW, Apt 4
        Pattern(rf"\b{_NUMBER},? (?:{_DIRECTION} )?(?:{_WORD} ){{1,4}}{_SURE_SUFFIX}\b\.?(?: {_DIRECTION}\b)?{_TAIL}", 0.85),
        Pattern(rf"\b{_NUMBER},? (?:{_DIRECTION} )?(?:{_WORD} ){{1,3}}(?i:{_SUFFIX})\b\.?(?: {_DIRECTION}\b)?{_TAIL}", 0.7),
        Pattern(
            rf"(?i)\b{_NUMBER},? (?:[a-z][a-z'.-]{{1,20}} ){{1,3}}"
            rf"(?:street|avenue|ave|road|rd|boulevard|blvd|lane|ln|drive|parkway|highway)\b\.?{_TAIL}",
            0.7,
        ),
        # Baker Street 221B, Main St.
        Pattern(
            rf"\b(?:{_WORD} ){{1,3}}(?i:street|avenue|ave|road|rd|boulevard|blvd|lane|ln|drive|parkway|pkwy|highway|"
            rf"crescent)\b\.?(?:,? (?:no\.? ?)?{_NUMBER}\b)?",
            0.6,
        ),
        Pattern(rf"{_JOINED}\.? {_NUMBER}\b", 0.85),
        Pattern(rf"\b{_NUMBER},? (?i:bis |ter )?{_BEFORE} {_PARTICLE}{_WORD}(?: (?:{_PARTICLE})?{_WORD}){{0,3}}", 0.75),
        Pattern(rf"\b{_BEFORE} {_PARTICLE}{_WORD}(?: (?:{_PARTICLE})?{_WORD}){{0,3}},? (?:n[.º°o] ?)?{_NUMBER}\b", 0.75),
        Pattern(r"(?i)\b(?:p\.? ?o\.? ?box|post office box|psc|unit) \d{2,6}(?:,? box \d{1,5})?\b", 0.7),
    )
    context_words = ("address", "live", "lives", "living", "reside", "resides", "located", "ship", "deliver", "mail", "street")

    def find(self, reading: Reading) -> Iterator[Finding]:
        """Streets, each grown over the place, state, postcode and country that follow it."""
        for finding in super().find(reading):
            end = self._grow(reading, finding.end)
            if reading.text[end - 1] == "." and len(reading.text[finding.start : end].split()[-1]) > len("Blvd."):
                end -= 1  # a sentence's full stop, not an abbreviation's
            yield Finding(finding.start, end, finding.entity, finding.score)

    def _grow(self, reading: Reading, end: int) -> int:
        text = reading.text
        tail = text[end : end + 120]
        match = self._place.match(tail.encode("utf-8"))
        return end + len(match.group(0).decode("utf-8")) if match else end

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        place = r"[\p{Lu}][\p{L}.'-]+(?: [\p{Lu}][\p{L}.'-]+){0,3}"
        code = (
            r"(?:[A-Z]{1,2}-)?(?:\d{4,6}(?:-\d{3,4})?|\d{3} \d{2}|[A-Z]{1,2}\d[A-Z0-9]? ?\d[A-Z]{2}|"
            r"[A-Z]\d[A-Z] ?\d[A-Z]\d|\d{4} ?[A-Z]{2})"
        )
        self._place = compile_pattern(
            rf"(?:,? ?\n|, ?)(?:{_UNIT}(?:,? ?\n|, ?))?(?:{place}(?:, ?| )(?:{US_STATES})\b,? ?{code}?|{code} {place}|"
            rf"{place},? {code}|{place}, {place} {code})(?:(?:,? ?\n|, )(?:{place}))?"
        )
