"""What a model names must look like what it says: no code for a person, no measure for an address, a postcode's shape for a postcode.

Models of names see few programs and logs when they are made, and take "torque 45 Nm" for an address. Each finding of theirs is cut to its
words that can be part of such a value, or dropped. It does NOT look at what patterns and lists find; those know their shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.pii.recognizers.listed_names import family_names, given_names, places
from gateway.pii.recognizers.zip_code import POSTCODE
from gateway.pii.surrogates.name_lists import words

# Software, formats, form fields and forms of address that stand in capitals and name nobody.
NOT_NAMES = frozenset(
    words(
        """sir madam customer customers team colleague colleagues all everyone everybody friend friends support admin administrator user
        users client manager hiring sirs ladies gentlemen folks valued item items total totals subtotal price quantity amount name
        names date time address phone email city state zip country region status priority order invoice ticket subject summary
        description category type value code id number notes comment comments title page section chapter table figure appendix yes no
        ok true false none null undefined nan todo fixme info warn warning error debug trace fatal api apis url uri http https json
        yaml xml html css sql csv pdf png svg gif cli gui sdk ide cpu gpu ram ssd hdd usb lan wan vpn dns ssh ftp smtp imap tcp udp
        tls ssl jwt oauth saml sso aws gcp azure python java javascript typescript kotlin swift rust golang ruby perl php scala
        haskell erlang elixir clojure julia matlab fortran cobol react angular vue svelte next.js node node.js deno express django
        flask fastapi rails laravel spring flutter electron flexbox grid bootstrap tailwind webpack vite babel jest cypress selenium
        pytest junit docker kubernetes helm terraform ansible jenkins git github gitlab bitbucket jira confluence slack trello asana
        notion figma sketch photoshop illustrator blender excel word powerpoint outlook sharepoint access onenote gmail chrome
        firefox safari edge opera windows linux ubuntu debian fedora centos macos ios android postgres postgresql mysql sqlite
        mongodb redis kafka rabbitmq elasticsearch kibana grafana prometheus spark hadoop airflow nginx apache tomcat numpy pandas
        scipy matplotlib pytorch tensorflow keras jupyter bash zsh powershell vim emacs vscode devtools lstm gru cnn rnn gpt llm bert
        transformer transformers bluetooth wifi ethernet thunderbolt celsius fahrenheit kelvin eur usd gbp jpy chf bmi mri ct ecg ekg
        bp hr faq asap fyi eta eod kpi roi b2b b2c saas crm erp hr pmp scrum kanban agile"""
    )
)
_WORD = re.compile(r"[^\s,;|]+")
_NEW_CELL = re.compile(r"\n|\t|[,;|](?! )|[;|]")  # between two words: another line or cell
_PARTICLES = frozenset(
    words("de da do di del della dos das du des la le les el al bin ibn van von der den zu zum zur y e i of the and am an im in ob pri nad")
)
_QUOTES = "\"'“”‘’()[]{}<>`*"
_CODE_LIKE = re.compile(r"[\d=<>{}\[\]_$%^~*\\@#]|\w\(|://|^[-+/]|[a-z][A-Z]{2}")
_APOSTROPHE = re.compile(r"[dlstn]['’]|['’]t$")
_EDGES = "\"'“”‘’()[]{}<>:!?.-–/*_`"
_MEASURE = re.compile(
    r"\d ?(?:[kMGT]i?B|[kMG]?Hz|[mµn]?s|sec|mins?|[mk]?g|mcg|m?l|[kcm]?m|km/h|mph|bpm|rpm|Nm|[kM]?W|mAh|px|dpi|fps|pt|°|%|"
    r"[CF])\b(?! ?[A-Z][a-z])|"
    r"\b(?:vs|INFO|WARN|ERROR|DEBUG|port|build|version|cache|memory|sizes?|grade|layers|bytes|tokens)\b|[=<>{}_@]|\d:\d\d"
)
_HOUSE = re.compile(r"(?<![\w.:,])\d{1,6}[A-Za-z]?(?![\w:%]|\.\d)")
_LETTERS = re.compile(r"[^\W\d_]{3}")
_SENTENCE_END = re.compile(r"(?<=[^\W\d_]{4})\. (?=[A-ZÀ-Þ])")
_GOES_ON = re.compile(r"[._-]\w|_")
_POSTCODE = re.compile(POSTCODE, re.IGNORECASE)
_DATE = re.compile(
    r"(?i)\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun)|(?<!\d)(?:1[89]|20)\d\d(?!\d)|"
    r"\d[/.-]\d{1,2}[/.-]\d|"
    r"\d:\d\d|\d ?[ap]\.?m\b|\d(?:st|nd|rd|th)\b|\b(?:century|spring|summer|autumn|fall|winter|noon|midnight|year|month|week|day)"
)
_AGE = re.compile(r"(?i)\d{1,3}|[a-z]+(?:[- ][a-z]+)?")
_NO_BODY = re.compile(r"[=<>{}_@]|://|\n|\w[,;|]\w|[a-z]\d*\.[a-z]{2}")
_WORD_AND_NUMBER = re.compile(r"[^\W\d_]+ \d{1,2}(?:\.\d+)?\.?")
_ADDRESS_NEAR = re.compile(r"(?i)\b(?:address|live|lives|living|reside|ship|deliver|send|sent|mail|street|house|office|home|at|from|to)\b")
_NO_STREET = re.compile(
    r"^(?:release|build|level|lesson|exercise|chapter|section|version|update|windows|model|day|item|page|table|figure|part|"
    r"step|phase|sprint|season|"
    r"episode|volume|issue|article|question|problem|task|line|row|column|schedule|form|round|game|match|week|month|year|team|"
    r"group|type|grade|class|"
    r"stage|score|rank|total|sum|qty|lot)\b ?\d|\b(?:has|have|had|is|are|was|were|drops?|gets?|then|but|because|while|when|"
    r"that|which|than)\b",
    re.IGNORECASE,
)
_HOUSE_NEAR = re.compile(r"(?i)\b(?:number|no|nr|house|building|street|address|apt|apartment|flat|unit|live|lives|living)\b")
_BODY_BEFORE = re.compile(r"(?i)\b(?:at|for|with|of|by|from|join|joined|and|the|company|employer|via|against|between)[\"' ]+$")


def plausible(entity: str, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of a model's finding [start, end) that can be of its type."""
    value = text[start:end]
    match entity:
        case "PERSON" | "GPE" | "LOCATION":
            yield from (run for run in _runs(text, start, end) if _listed(entity, text[slice(*run)]))
        case "ORGANIZATION":
            bare = value.strip(_EDGES)
            acronym = bare.isupper() and bare.isalpha() and len(bare) <= 5
            no_name = bare.lower() in NOT_NAMES or _NO_BODY.search(value) or (bare.islower() and " " not in bare)
            if not no_name and (not acronym or _BODY_BEFORE.search(text, max(0, start - 16), start)):
                yield start, end
        case "STREET_ADDRESS":
            if sentence := _SENTENCE_END.search(value):
                end = start + sentence.start()
                value = text[start:end]
            if _NO_STREET.search(value) or (value.strip().isdigit() and not _HOUSE_NEAR.search(text, max(0, start - 40), start)):
                return
            lone = _WORD_AND_NUMBER.fullmatch(value) and not _ADDRESS_NEAR.search(text, max(0, start - 40), start)
            if (
                not lone
                and not _MEASURE.search(value)
                and (_LETTERS.search(value) or _HOUSE.search(value))
                and not re.fullmatch(r"[\d.:,/ -]+\.\d+", value)
            ):
                yield start, end
        case "ZIP_CODE":
            glued = text[max(0, start - 1) : start] in ("_", "#", "-", ".") or _GOES_ON.match(text, end)
            if _POSTCODE.fullmatch(value.strip()) and not glued:
                yield start, end
        case "DATE_TIME":
            if _DATE.search(value):
                yield start, end
        case "AGE":
            if _AGE.fullmatch(value.strip()):
                yield start, end
        case _:
            yield start, end


def _listed(entity: str, value: str) -> bool:
    """Whether a name in lower case alone is in a list; small letters are mostly words. A name in capitals need not be in one."""
    if not value.islower():
        return entity == "PERSON" or not (value.isupper() and value.isalpha() and len(value) < 4)
    if entity == "PERSON":
        return any(word.capitalize() in given_names() or word.capitalize() in family_names() for word in re.findall(r"[^\W\d_]{3,}", value))
    return any(value in names for names in places())


def _runs(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The runs of words in [start, end) that are neither code nor parted by a line, a cell or a plain word."""
    capitals = any(map(str.isupper, text[start:end]))
    run: list[tuple[int, int]] = []
    for word in _WORD.finditer(text, start, end):
        plain = capitals and word[0].islower() and word[0] not in _PARTICLES and not _APOSTROPHE.match(word[0])
        if _CODE_LIKE.search(word[0]) or plain:
            yield from _named(text, run)
            run = []
            continue
        if run and _NEW_CELL.search(text, run[-1][1], word.start()):
            yield from _named(text, run)
            run = []
        run.append(word.span())
    yield from _named(text, run)


def _named(text: str, run: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The run without words at its end that name nobody, and without quotes and brackets around it."""

    def nobody(span: tuple[int, int]) -> bool:
        bare = text[slice(*span)].strip(_EDGES).lower()
        return bare in NOT_NAMES or bare in _PARTICLES or not any(map(str.isalpha, bare))

    while run and nobody(run[-1]):
        run = run[:-1]
    if not run or all(nobody(span) for span in run):
        return
    first, last = run[0][0], run[-1][1]
    while first < last and text[first] in _QUOTES:
        first += 1
    while last > first and text[last - 1] in _QUOTES and not (text[last - 1] == ")" and "(" in text[first:last]):
        last -= 1
    yield first, last
