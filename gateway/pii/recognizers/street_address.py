"""Postal addresses in Latin script: a street with a number, and the unit, town, state, postcode and country that follow it.

What makes an address, one of these: a number before a street of a known kind ("221B Baker Street"), a street with its number behind it
("Lindenstraße 44", "Rua Augusta, 12"), a line with a number above a line with a postcode or a state and postcode, a unit ("Apt. 12"), a
postal box, a field post. It does NOT find a street by its name alone (models do), or a house by its name.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.pii.address_parts import UNIT_WORDS
from gateway.pii.reading import Reading, compile_pattern
from gateway.pii.recognizers.base import Finding, Pattern, PatternRecognizer
from gateway.pii.recognizers.zip_code import POSTCODE, US_STATES
from gateway.pii.surrogates.name_lists import words

# Kinds of streets that end a street's name in English (USPS Publication 28, appendix C1, and British use).
_KINDS = words(
    """street str st avenue ave av road rd boulevard blvd drive dr lane ln court ct place pl square sq terrace ter way circle cir
    highway hwy parkway pkwy trail trl close crescent cres alley annex arcade bayou beach bend bluff bottom branch bridge brook burg
    bypass camp canyon cape causeway center centre cliff club common corner course cove creek crest crossing crossroad curve dale
    dam divide estate expressway extension fall ferry field flat ford forest forge fork fort freeway garden gate gateway glen green
    grove harbor harbour haven heights hill hollow inlet island isle junction key knoll lake land landing light loaf lock lodge loop
    mall manor meadow mews mill mission motorway mount mountain neck orchard oval overpass parade park pass passage path pike pine
    plain plaza point port prairie quay radial ramp ranch rapid rest ridge rise river route row rue run shoal shore skyway spring
    spur station stravenue stream summit throughway trace track trafficway trailer tunnel turnpike tpke underpass union valley
    viaduct view village ville vista walk wall well wharf wynd yard esplanade promenade broadway
    lookout line nagar marg chowk colony layout ganj bazaar enclave vihar puram zila"""
)
_SUFFIX = f"(?:{'|'.join(_KINDS)})s?"
_SUFFIX_TITLE = f"(?:{'|'.join(kind.title() for kind in _KINDS)})s?"
_SURE_SUFFIX = (
    r"(?i:street|str|avenue|ave|road|rd|boulevard|blvd|lane|ln|drive|parkway|pkwy|highway|hwy|terrace|crescent|"
    r"crossroad|square|court|st|dr|ct|way|place)"
)
_NUMBER = r"(?:\d{1,6}[A-Za-z]?(?:(?:[-/]\d{1,5}[A-Za-z]?){1,2}|-[A-Z]\b)?)"
_WORD = r"(?:[\p{Lu}][\p{L}'’.-]+|\d{1,3}(?:st|nd|rd|th))"
_DIRECTION = r"(?:[NSEW]\.?|[NS][EW]|North|South|East|West|Northeast|Northwest|Southeast|Southwest)"
_UNIT = rf"(?:(?i:{UNIT_WORDS}|#|no\.?|level)\.? ?#?[A-Za-z]?\d{{0,5}}[A-Za-z]?-?\d{{0,4}})"
_TAIL = rf"(?:(?:,? *\n? *|, )(?:{_UNIT}))?"
_BREAK = r"[ \t]*(?:,[ \t]*\n?|\n)[ \t]*"  # from one line of an address to the next
# Streets whose kind stands in one word with the name, or before it, in other languages of Latin script.
_JOINED = (
    r"(?:[\p{Lu}][\p{L}-]+(?i:straße|strasse|straat|strasze|str\.|gasse|gässli|gaten|gata|gatan|gade|vej|vägen|veien|vegen|weg|"
    r"allee|allé|alléen|"
    r"platz|plein|laan|kade|gracht|dijk|ring|damm|ufer|stien|katu|tie|kuja|polku|kaari|raitti|rinne|ranta|utca|útja|tér|stræde|"
    r"plads|plass|torg|"
    r"torget|steeg|singel|hof|dreef|lei|gränd|stigen|backen|bakken|berget|vænget|toften|parken|marken|haven|havna|svingen|"
    r"straede|steig|pfad|"
    r"zeile|markt|wall|graben|chaussee|boulevard|baan))"
)
_AFTER = (  # of the same, in a word of their own behind the name
    r"(?i:straße|strasse|str\.|allee|chaussee|damm|weg|ring|platz|ufer|gasse|laan|straat|plein|gade|vej|allé|gate|vei|katu|tie|"
    r"utca|u\.|út|útja|tér|"
    r"köz|sor|krt\.|körút|sétány|cesta|pot|ulica|nábřeží|náměstí|nám\.|třída|sady|šetalište|put|trg|prilaz|caddesi|cad\.|sokak|"
    r"sok\.|sokağı|bulvarı|"
    r"tänav|iela|gatvė|g\.|prospekt)"
)
_BEFORE = (
    r"(?:(?i:rue|avenue|av\.?|allée|chemin|place|quai|boulevard|bd|blv\.|impasse|cours|route|square|passage|sentier|faubourg|"
    r"promenade|via|viale|"
    r"piazza|piazzale|corso|largo|vicolo|strada|borgo|contrada|stretto|lungomare|salita|calle|cl\.?|c/|c\.|avenida|avda\.?|"
    r"vial|plaza|pza\.?|"
    r"paseo|camino|carretera|ctra\.?|carrer|carrera|cra?\.|glorieta|rambla|rúa|ronda|cuesta|callejón|travesía|pasaje|acceso|"
    r"alameda|pasadizo|"
    r"calzada|corredor|periférico|prolongación|circunvalación|circuito|privada|retorno|eje vial|ampliación|diagonal|diag\.|transversal|"
    r"urbanización|urb\.?|rua|r\.|travessa|praça|estrada|beco|rodovia|vale|recanto|residencial|quadra|conjunto|núcleo|condomínio|largo|"
    r"ul\.|ulica|al\.|aleja|os\.|pl\.|plac|ulitsa|rruga|str\.|bulevardul|bd\.|calea|aleea|drumul|intrarea|soseaua|șoseaua|splaiul|"
    r"jalan|jl\.?|gang|gg\.))"
)
_PARTICLE = r"(?:(?:de|du|des|la|le|les|del|della|delle|dei|di|da|do|dos|das|los|las|el|van|der|den|l'|d'|von|zum|zur|am|im|y|e) ?){0,3}"
_NUMERO = r"(?:(?:[Nn][.º°or]|[Nn]r\.|[Nn]o\.|#) ?)?"
_ANOTHER_WORD = rf"(?: (?:{_PARTICLE})?{_WORD})"
_LINE = rf"{_WORD}{_ANOTHER_WORD}{{0,4}}"
_STREET = rf"{_BEFORE} {_PARTICLE}{_WORD}{_ANOTHER_WORD}{{0,3}}"  # its kind first: Rue de la Paix
_NAME = r"[\p{Lu}](?:[\p{L}'’-]+|\p{L}{1,2}\.)"
_TOWN = (
    rf"{_NAME}(?:[ -](?:(?:de|du|des|la|le|les|del|di|da|do|dos|das|am|an|der|den|im|in|ob|pri|nad|u|v|sur|sous|upon|on|the|of|i) ){{0,2}}"
    rf"[(]?{_NAME}[)]?){{0,4}}"
)


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
        Pattern(rf"\b(?:{_WORD} ){{1,3}}{_SUFFIX_TITLE}\b,? {_NUMBER}\b", 0.5),
        Pattern(rf"{_JOINED}\.?,? {_NUMBER}\b", 0.85),
        Pattern(rf"\b(?:{_WORD} )(?:[\p{{L}}.-]+ ){{0,2}}{_AFTER},? {_NUMBER}\b\.?", 0.75),
        Pattern(rf"\b{_NUMBER},? (?i:bis |ter )?{_STREET}", 0.75),
        Pattern(rf"\b{_STREET},? {_NUMERO}{_NUMBER}\b", 0.75),
        # Calle 114 # 48-3 Sur
        Pattern(
            r"(?i)\b(?:cl|calle|cra?|kra?|carrera|av|avenida|ac|ak|dg|diag|diagonal|tv|transversal)\.?(?: (?:calle|"
            r"carrera))? \d{1,3}[a-z]{0,2}ª?"
            r"(?: (?:bis|sur|este|norte))? ?(?:#|no?\.?|n[º°]) ?\d{1,3}[a-z]{0,2} ?- ?\d{1,3}(?: (?:sur|este|norte|oeste)\b)?",
            0.85,
        ),
        # "Hlavní 12\n110 00 Praha", "12 Long Acre\nLeeds LS1 4AP", "44 Ridgeview\nAustin, TX 78701": the lines say what it is.
        Pattern(rf"\b{_LINE},? {_NUMBER}{_BREAK}{POSTCODE},? {_TOWN}", 0.8),
        Pattern(rf"\b{_NUMBER},? {_LINE}{_BREAK}(?:{_TOWN}{_BREAK}?[ ]?)?(?:{US_STATES}),? \d{{5}}(?:-\d{{4}})?\b", 0.85),
        Pattern(rf"\b{_NUMBER},? {_LINE}{_BREAK}{_TOWN},?[ \n]+{POSTCODE}\b", 0.75),
        Pattern(rf"\b{_NUMBER},? {_LINE}{_BREAK}{POSTCODE},? {_TOWN}", 0.75),
        Pattern(
            r"(?i)\b(?:p\.? ?o\.? ?box|post office box|postfach|boîte postale|apartado|casella postale|psc|cmr|"
            r"unit) \d{2,6}(?:,? box \d{1,5})?\b",
            0.7,
        ),
        # A field post: "PSC 1234, Box 12345, APO AE 09012", "USNS Fisher, FPO AP 96601"
        Pattern(
            rf"\b(?:(?:PSC|CMR|Unit) \d{{2,6}}(?:,? Box \d{{1,6}})?|US[A-Z]{{1,4}} {_WORD}(?: {_WORD})?){_BREAK}(?:APO|FPO|"
            rf"DPO),? A[AEP] \d{{5}}(?:-\d{{4}})?",
            0.9,
        ),
        # Where words call for an address: "ship to: Komenského 9"
        Pattern(
            rf"(?:(?i:address(?: is)?|ship to|sent? (?:it |them )?to|deliver(?:ed)? (?:it )?to|lives? (?:at|in)|moved (?:from|"
            rf"to)|residing at)):?[ \n]"
            rf"({_WORD}(?: [\p{{L}}.-]+){{0,3}},? {_NUMERO}\d{{1,4}}[A-Za-z]?(?:[-/]\d{{1,4}}[A-Za-z]?)?)(?:[,.;\n?!]|$)",
            0.55,
            group=1,
        ),
        # A unit by itself, and a house number that is named as one
        Pattern(r"\b(?i:apt|apartment|suite|ste)\.? ?#?[A-Za-z]?\d{1,5}[A-Za-z]?\b", 0.6),
        Pattern(r"(?i)\b(?:flat|unit|room|rm|floor)\.? ?#?[a-z]?\d{1,5}[a-z]?\b", 0.0, with_context=0.5),
        Pattern(
            r"(?i)\b(?:house|building|street|apartment|flat|unit|door|plot)(?: ?n(?:umber|o\.?|r\.?))(?: ?(?:is|was|:|"
            r"=))? ?['\"]?(\d{1,5}[a-z]?)\b",
            0.6,
            group=1,
        ),
        Pattern(
            r"(?i)\b(?:live|lives|living|lived|reside|resides|house|neighbou?rs?)(?: [a-z]{2,10})? at (?:number|no\.?|"
            r"nr\.?) ?(\d{1,5}[a-z]?)\b",
            0.6,
            group=1,
        ),
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
        tail = text[end : end + 160]
        match = self._place.match(tail.encode("utf-8"))
        return end + len(match.group(0).decode("utf-8")) if match else end

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._place = compile_pattern(
            rf"{_BREAK}(?:{_UNIT}{_BREAK})?(?:{_TOWN}(?:, ?| |{_BREAK})(?:{US_STATES})\b,?[ \n]?{POSTCODE}?|"
            rf"{_TOWN}{_BREAK}[A-Z]{{2,3}},? {POSTCODE}|{_TOWN} ?[-–] ?\d{{5,6}}|{POSTCODE} {_TOWN}|"
            rf"{_TOWN},? {POSTCODE}|{_TOWN}{_BREAK}{POSTCODE}|{_TOWN}{_BREAK}{_TOWN} {POSTCODE})\b"
        )
