"""Surrogate phone numbers from ranges that are kept for fiction or not allocated.

United States and Canada: 555-0100 to 555-0199 of any area code (ATIS-0300115). United Kingdom: Ofcom's numbers for drama.
France: 01 99 00, 06 39 98 and others (ARCEP, numbers for audiovisual works). Germany: the Bundesnetzagentur's drama numbers.
Australia: 5550 and 7010 of each area, 0491 570 (ACMA). Chinese mobile: prefixes that are not allocated. Elsewhere the digits after
the country code begin with 00, with which no subscriber's number begins. The shape (country code, brackets, grouping) is kept.
It does NOT keep the region, except for the country.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.pii.surrogates.base import digits_of, fill_digits
from gateway.pii.surrogates.draw import Draw, Draws
from gateway.pii.surrogates.name_lists import words

_PROBES = 64
_AREA_CODES = words(
    """201 202 203 205 206 207 208 209 210 212 213 214 215 216 217 218 219 224 225 228 229 231 234 239 240 248 251 252 253 254
    256 260 262 267 269 270 276 281 301 302 303 304 305 307 308 309 310 312 313 314 315 316 317 318 319 320 321 323 325 330
    334 336 337 339 347 351 352 360 361 386 401 402 404 405 406 407 408 409 410 412 413 414 415 416 417 419 423 424 425 432
    434 435 440 443 469 478 479 480 484 501 502 503 504 505 507 508 509 510 512 513 514 515 516 517 518 520 530 540 541 551
    559 561 562 563 567 570 571 573 574 580 585 586 601 602 603 604 605 606 607"""
)

# (first digits of the national number, those digits of the reserved range, length of the national number)
_UK = {
    "2": ("207946", 10), "7": ("7700900", 10), "3": ("3069990", 10), "8": ("80815700", 10), "1": ("1134960", 10),
}  # fmt: skip
_UK_GEOGRAPHIC = words("1134960 1144960 1154960 1164960 1174960 1184960 1214960 1314960 1414960 1514960 1614960 1914980")
_FR = {"1": "19900", "2": "26191", "3": "35301", "4": "46571", "5": "53649", "6": "63998", "7": "63998"}
_DE = {"30": "3023125", "40": "4066969", "69": "6990009", "89": "8999998", "1": "17139200"}
_AU = {"2": "25550", "3": "35550", "7": "75550", "8": "85550", "4": "491570"}
_CN_MOBILE = ("142", "143", "154", "160", "163", "164", "168", "169")  # not allocated (MIIT numbering plan)
# ITU-T E.164 country codes of one and two digits; every other is of three.
_SHORT_CODES = frozenset(
    words(
        """1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61
        62 63 64 65 66 81 82 84 86 90 91 92 93 94 95 98"""
    )
)


def _country_and_national(value: str) -> tuple[str, str]:
    """The country code, where the shape tells it, else "", and the digits of the national significant number."""
    digits = digits_of(value)
    if "+" in value or digits.startswith("00"):
        digits = digits.removeprefix("00") if "+" not in value else digits
        code = next((digits[:n] for n in (1, 2) if digits[:n] in _SHORT_CODES), digits[:3])
        national = digits[len(code) :]
        return code, national.removeprefix("0") if code != "39" else national
    if len(digits) == 11 and digits[0] == "1" and digits[1] in "3456789" and "-" not in value[:2]:
        return "86", digits
    if len(digits) == 11 and digits[0] == "1" and digits[1] in "23456789":
        return "1", digits[1:]
    if len(digits) == 10 and digits[0] in "23456789" and digits[3] in "23456789":
        return "1", digits
    if digits[:1] == "0" and len(digits) == 11 and digits[1] in "12378":
        return "44", digits[1:]
    return "", digits


def _within(prefix: str, length: int, draw: Draw) -> str:
    return prefix + draw.digits(max(length - len(prefix), 1))


def _national(code: str, national: str, draw: Draw) -> str | None:
    if len(national) < 3:
        return None
    if code == "1" and len(national) == 10:
        return f"{draw.pick(_AREA_CODES)}55501{draw.digits(2)}"
    if code == "44" and len(national) in (9, 10):
        if national[0] == "1":
            return _within(draw.pick(_UK_GEOGRAPHIC), 10, draw)
        prefix, length = _UK.get(national[0], ("7700900", 10))
        return _within(prefix, length, draw)
    if code == "86" and len(national) == 11 and national[0] == "1":
        return _within(draw.pick(_CN_MOBILE), 11, draw)
    if code == "33" and national[0] in _FR and len(national) == 9:
        return _within(_FR[national[0]], 9, draw)
    if code == "49":
        prefix = _DE.get(national[:2], _DE["1"] if national[0] == "1" else _DE["30"])
        return _within(prefix, max(len(national), len(prefix) + 3), draw)
    if code == "61" and national[0] in _AU and len(national) == 9:
        return _within(_AU[national[0]], 9, draw)
    keep = "0" if not code and national.startswith("0") else ""
    body = len(national) - len(keep)
    if body < 5:
        return keep + draw.digits(body)
    return keep + "00" + draw.digits(body - 2)


class PhoneNumber:
    """Phones by their national number: the country code and the grouping stay as they were written."""

    def canonical(self, value: str) -> str:
        return _country_and_national(value)[1]

    def candidates(self, value: str, draws: Draws) -> Iterator[str]:
        code, national = _country_and_national(value)
        seen = {national}
        for probe in range(_PROBES):
            token = _national(code, national, draws.at(probe))
            if token is None:
                return
            if token not in seen:
                seen.add(token)
                yield token

    def render(self, token: str, value: str) -> str:
        national = _country_and_national(value)[1]
        if len(national) == len(token):
            return fill_digits(value, token)
        return f"{value[: len(value) - len(value.lstrip('+(0'))]}{token}"


PHONE = PhoneNumber()
