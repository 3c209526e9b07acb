"""A text cut into the units that names and numbers are compared by: words, runs of digits, single Han, kana or Hangul characters.

A unit carries its folded form: letter case, width, diacritics and apostrophes are gone, so that "Müller", "MULLER" and "muller" are one.
A lone letter with a full stop behind it is an initial ("s."). It does NOT transliterate between scripts, and words of scripts that are
written without spaces other than these (Thai, Lao, Khmer, Burmese) are one unit a run.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

_CJK = "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
_MARKS = "".join(chr(code) for code in range(0x300, 0x3000) if unicodedata.category(chr(code))[0] == "M")
_LETTER = rf"(?:[^\W\d_{_CJK}]|[{_MARKS}\u200c\u200d])"
_UNIT = re.compile(rf"(?P<word>{_LETTER}+(?:['’ʼ`]{_LETTER}+)*)|(?P<digits>\d+)|(?P<cjk>[{_CJK}])")
_ASCII_UNIT = re.compile(r"(?P<word>[A-Za-z]+(?:['`][A-Za-z]+)*)|(?P<digits>[0-9]+)|(?P<cjk>(?!))")
_POSSESSIVE = re.compile(r"['’ʼ`][sS]$")
# Letters that no decomposition turns into plain ones, and Arabic forms of one letter.
_PLAIN = str.maketrans({
    "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h", "ŋ": "n", "ə": "e", "'": "", "’": "",
    "ʼ": "", "`": "", "\u0640": "", "\u200c": "", "\u200d": "", "ٱ": "ا", "ى": "ي", "ة": "ه", "ё": "е",
})  # fmt: skip
# Signs above and below letters that spelling leaves out: Latin, Greek, Cyrillic, Hebrew, Arabic. Indic vowel signs stay.
_DROPPED = frozenset(
    chr(code) for low, high in ((0x300, 0x700), (0x1AB0, 0x1E00), (0x20D0, 0x2100)) for code in range(low, high)
    if unicodedata.category(chr(code)) == "Mn"
)  # fmt: skip


class Unit(NamedTuple):
    """[start, end) of the text. `form` is the folded text; `kind` is w (word), i (initial), d (digits) or c (a CJK character)."""

    start: int
    end: int
    form: str
    kind: str


def units(text: str) -> list[Unit]:
    """The units of a text, in order."""
    found = []
    for match in (_ASCII_UNIT if text.isascii() else _UNIT).finditer(text):
        start, end = match.span()
        written, group = match[0], match.lastgroup
        if group == "digits":
            found.append(Unit(start, end, written if written.isascii() else _plain_digits(written), "d"))
        elif group == "cjk":
            found.append(Unit(start, end, written if "\u3400" <= written <= "\ud7af" else unicodedata.normalize("NFKC", written), "c"))
        elif end - start == 1 and text[end : end + 1] == ".":
            found.append(Unit(start, end + 1, fold_word(written) + ".", "i"))
        else:
            possessive = _POSSESSIVE.search(written)
            if possessive:
                end -= possessive.end() - possessive.start()
                written = written[: possessive.start()]
            form = fold_word(written)
            if form:
                found.append(Unit(start, end, form, "w"))
    return found


def fold_word(word: str) -> str:
    """A word without case, diacritics, apostrophes."""
    if word.isascii():
        return word.lower().replace("'", "").replace("`", "")
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    return "".join(ch for ch in decomposed if ch not in _DROPPED).translate(_PLAIN)


def _plain_digits(digits: str) -> str:
    return "".join(str(unicodedata.decimal(ch)) for ch in digits)
