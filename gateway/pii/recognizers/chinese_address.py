"""Postal addresses in Chinese script: regions from large to small, then a road with a number, a building, a room."""

from __future__ import annotations

from gateway.pii.recognizers.base import Pattern, PatternRecognizer

_HAN = r"[^\P{Han}在到住寄往是于为从去址来送达]"  # without the words that lead up to an address
_REGION = (
    rf"(?:{_HAN}{{2,8}}?(?:省|自治区|特别行政区) ?)?(?:{_HAN}{{2,8}}?(?:市|自治州|地区|盟) ?)?"
    rf"(?:{_HAN}{{1,8}}?(?:区|县|旗|市) ?)?(?:{_HAN}{{1,8}}?(?:镇|乡|街道) ?)?"
)
_ROAD = rf"{_HAN}{{1,10}}?(?:路|街|大道|道|巷|弄|胡同|里|村|苑|小区|花园|大厦|广场|新村|公寓)[东西南北]?"
_DIGITS = r"[0-9零〇一二三四五六七八九十百]{1,6}(?:-\d{1,4})?"
_NUMBER = rf"(?: ?{_DIGITS} ?(?:号楼|号院|号|弄|巷|栋|幢|座|楼|层|单元|室|房|户|组)院?)"
_ROOM = r"(?: ?[A-Za-z]?\d{2,5}(?:室|房)?)?"  # "3栋2单元1204"
_REST = rf"(?:{_HAN}{{0,10}}?{_NUMBER}){{0,5}}{_ROOM}"
_LEAD = r"(?:住址|地址|住在|家住|现住|位于|寄到|寄往|送到|送货到|送达|户籍|籍贯|搬到|居住于|居住在|住)[是为在：:]? ?"


class ChineseAddressRecognizer(PatternRecognizer):
    entity = "STREET_ADDRESS"
    patterns = (
        Pattern(rf"{_LEAD}({_REGION}(?:{_ROAD})?{_NUMBER}{_REST})", 0.9, group=1),
        Pattern(
            rf"((?:{_HAN}{{2,3}}(?:省|自治区) ?)?{_HAN}{{2,4}}(?:市|自治州) ?(?:{_HAN}{{1,6}}?(?:区|县|旗|市) ?)?"
            rf"(?:{_ROAD})?{_NUMBER}{_REST})",
            0.85,
            group=1,
        ),
        Pattern(rf"({_HAN}{{2,6}}(?:路|街|大道|巷|胡同)[东西南北]? ?[0-9]{{1,5}} ?(?:号|弄){_REST})", 0.75, group=1),
    )
