"""Surrogates of addresses, places, postcodes, organisations: invented names around the words that say what it is.

"12 Oak Street, Apt 4" stays a street with a flat, "Acme Bank Ltd" a bank, "海淀区" a district: the model needs the kind, and the name
identifies. Postcodes come from prefixes that are not assigned. It does NOT keep distances, or which town lies in which country.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from gateway.pii.surrogates.base import like_case, plain_canonical
from gateway.pii.surrogates.draw import Draw, Draws
from gateway.pii.surrogates.name_lists import COMPANIES_HAN, COMPANIES_LATIN, PLACES_HAN, PLACES_LATIN, STREETS_LATIN, words

_PROBES = 64
_STREET_WORDS = frozenset(
    words(
        """street st avenue ave road rd lane ln drive dr boulevard blvd court ct place pl square sq terrace way highway hwy parkway pkwy
    circle cir close crescent row alley walk path route loop trail plaza quay po p.o box apt apartment suite ste unit floor fl flat room
    rm building bldg house block north south east west n s e w ne nw se sw the of and at in no strasse straße platz weg rue de la du
    via calle avenida"""
    )
)
_COMPANY_WORDS = frozenset(
    words(
        """inc incorporated ltd limited llc llp plc corp corporation co company gmbh ag sa srl bv nv pty kg group holdings partners
    associates bank insurance hospital clinic medical center centre health university college school institute foundation
    trust systems technologies technology solutions services consulting industries energy airlines motors media labs
    pharmaceuticals capital ventures and of the for &"""
    )
)
_PLACE_WORDS = frozenset(
    words("city town county state province district region republic of the saint st new north south east west upper lower port lake mount")
)
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]+")
_HAN_KINDS = re.compile(
    r"特别行政区|自治区|自治州|省|市|区|县|镇|乡|村|街道|大街|大道|路|街|巷|弄|号楼|号|栋|单元|室|层|小区|大厦|广场|花园|"
    r"股份有限公司|有限责任公司|有限公司|公司|集团|银行|医院|大学|学院|中学|小学|律师事务所|事务所|研究所|研究院|中心|委员会|局|厅|部|科技|网络|保险|证券"
)
# Three-digit ZIP prefixes that the USPS has not assigned.
_ZIP_FREE = words("001 002 003 004 099 213 269 343 345 348 353 419 428 429 517 518 519 529 533 536")
_ZIP_TAIL = re.compile(r"(?<!\d)\d{5}(?:-\d{4})?\s*$")
_RUN = re.compile(r"\d+|[^\W\d_]+(?:['’.][^\W\d_]+)*")
_UK_POSTCODE = re.compile(r"[A-Za-z]{1,2}\d[A-Za-z\d]?\s*\d[A-Za-z]{2}")


class Renamed:
    """Text of several words: names become others of a list, digits others, the words that tell the kind stay."""

    def __init__(self, kinds: frozenset[str], latin: Sequence[str], han: Sequence[str], *, zip_tail: bool = False) -> None:
        self._kinds = kinds
        self._latin = latin
        self._han = han
        self._zip_tail = zip_tail

    def canonical(self, value: str) -> str:
        return plain_canonical(value)

    def candidates(self, value: str, draws: Draws) -> Iterator[str]:
        if not any(ch.isalpha() for ch in value):
            return
        build = self._han_text if _HAN.search(value) else self._latin_text if _only_latin(value) else None
        if build is None:
            return
        for probe in range(_PROBES):
            draw = draws.at(probe)
            token = build(value, draw, _longer(probe))
            if token is None:
                return
            yield token

    def render(self, token: str, value: str) -> str:
        return like_case(token, value)

    def _latin_text(self, value: str, draw: Draw, names: int) -> str | None:
        tail = _ZIP_TAIL.search(value) if self._zip_tail else None
        body = value[: tail.start()] if tail else value
        out, at, named, in_run = [], 0, False, False
        for match in _RUN.finditer(body):
            word, between = match[0], body[at : match.start()]
            at = match.end()
            kind = word.casefold().rstrip(".") in self._kinds or (self._zip_tail and len(word) == 1 and not word.isdigit())
            is_name = not kind and not word.isdigit()
            if is_name and in_run and not between.strip():
                continue  # a run of name words becomes one name
            out.append(between)
            if word.isdigit():
                out.append(str(draw.between(1, 9)) + draw.digits(len(word) - 1))
            elif kind or (self._zip_tail and len(word) == 2 and word.isupper()):
                out.append(word)
            else:
                named = True
                out.append(" ".join(draw.pick(self._latin) for _ in range(names)))
            in_run = is_name
        out.append(body[at:])
        if not named and not any(ch.isdigit() for ch in body):
            return draw.pick(self._latin)
        return "".join(out) + (zip_code(tail[0], draw) or "" if tail else "")

    def _han_text(self, value: str, draw: Draw, names: int) -> str | None:
        pieces = re.split(f"({_HAN_KINDS.pattern})", value)
        out = []
        for index, piece in enumerate(pieces):
            if index % 2:
                out.append(piece)
            else:
                renamed = _HAN.sub(lambda _: "".join(draw.pick(self._han) for _ in range(names)), piece)
                out.append("".join(_redrawn(ch, draw) for ch in renamed))
        token = "".join(out)
        return token if token != value else "".join(draw.pick(self._han) for _ in range(names + 1))


def _longer(probe: int) -> int:
    """How many names make one: after many collisions the list is nearly used up, so that longer names are needed."""
    return 1 + probe // 12


def _only_latin(value: str) -> bool:
    return all(ch < "\u0250" or not ch.isalpha() for ch in value)


def zip_code(value: str, draw: Draw) -> str | None:
    """A US ZIP of an unassigned prefix, a UK postcode of a letter that begins none (Q, V, X), else digits of the same shape."""
    if re.fullmatch(r"\s*\d{5}(?:-\d{4})?\s*", value):
        fresh = draw.pick(_ZIP_FREE) + draw.digits(6)
        digits = iter(fresh)
        return "".join(next(digits) if ch.isdigit() else ch for ch in value)
    if _UK_POSTCODE.fullmatch(value.strip()):
        first = draw.pick("QVX")
        return first + "".join(_redrawn(ch, draw) for ch in value[1:])
    if any(ch.isdigit() for ch in value) and value.isascii():
        return "".join(_redrawn(ch, draw) for ch in value)
    return None


def _redrawn(ch: str, draw: Draw) -> str:
    """An ASCII digit or letter (as a capital) drawn anew; any other character as it is."""
    return str(draw.below(10)) if ch in "0123456789" else chr(65 + draw.below(26)) if ch.isascii() and ch.isalpha() else ch


class Postcode:
    """Postcodes by `zip_code`."""

    def __init__(self, make: Callable[[str, Draw], str | None] = zip_code) -> None:
        self._make = make

    def canonical(self, value: str) -> str:
        return plain_canonical(value)

    def candidates(self, value: str, draws: Draws) -> Iterator[str]:
        for probe in range(_PROBES):
            token = self._make(value, draws.at(probe))
            if token is None:
                return
            yield token

    def render(self, token: str, value: str) -> str:
        return like_case(token, value)


ADDRESS = Renamed(_STREET_WORDS, STREETS_LATIN, PLACES_HAN, zip_tail=True)
PLACE = Renamed(_PLACE_WORDS, PLACES_LATIN, PLACES_HAN)
ORGANIZATION = Renamed(_COMPANY_WORDS, COMPANIES_LATIN, COMPANIES_HAN)
ZIP = Postcode()
