"""Dates and times in the notations of several countries: numeric, with month names, ISO 8601, Chinese, weekdays, years."""

from __future__ import annotations

from gateway.pii.recognizers.base import Pattern, PatternRecognizer

MONTHS = (
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?|"
    "januar|februar|märz|mai|juni|juli|oktober|dezember|janvier|février|mars|avril|juin|juillet|août|septembre|octobre|novembre|décembre|"
    "enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre"
)
DAY = r"(?:[12]\d|3[01]|0?[1-9])"
MONTH_NUMBER = r"(?:1[0-2]|0?[1-9])"
YEAR = r"(?:1[89]|20)\d{2}"
TIME = r"(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6})?)?"
CLOCK = rf"(?:{TIME}(?: ?(?i:a\.?m\b\.?|p\.?m\b\.?))?|(?:1[0-2]|[1-9]) ?(?i:am|pm|a\.m\.|p\.m\.))"
NUMERIC_DATE = (
    rf"(?:{YEAR}[-/.]{MONTH_NUMBER}[-/.]{DAY}|{DAY}[-/.]{MONTH_NUMBER}[-/.](?:{YEAR}|\d{{2}})|{MONTH_NUMBER}[-/.]"
    rf"{DAY}[-/.](?:{YEAR}|\d{{2}}))"
)
WRITTEN_DATE = (
    rf"(?i:(?:{MONTHS})\.?[ -]{DAY}(?:st|nd|rd|th)?(?:,? ?-?{YEAR}|,? '?\d\d)?|{DAY}(?:st|nd|rd|th|\.)?[ -](?:of )?"
    rf"(?:de )?(?:{MONTHS})\b\.?(?:[ ,-]{{1,2}}(?:de )?(?:{YEAR}|'?\d{{2}}))?"
    rf"|(?:{MONTHS}),? (?:of )?{YEAR})"
)
CHINESE_DATE = (
    r"(?:(?:\d{4}|[〇零一二三四五六七八九]{4})年(?:(?:\d{1,2}|[一二三四五六七八九十]{1,3})月)?(?:(?:\d{1,2}|[一二三四五六七八九十]{1,3})[日号])?"
    r"|(?:\d{1,2}|[一二三四五六七八九十]{1,3})月(?:\d{1,2}|[一二三四五六七八九十]{1,3})[日号])(?:[上下]午|凌晨|晚上|早上|中午)?(?:\d{1,2}[点时](?:\d{1,2}分)?|\d{1,2}:\d{2})?"
)


class DateTimeRecognizer(PatternRecognizer):
    entity = "DATE_TIME"
    patterns = (
        Pattern(rf"\b{NUMERIC_DATE}(?:(?:,? |T){TIME}(?:Z|[+-]\d{{2}}:?\d{{2}})?(?: ?(?i:am|pm))?)?\b", 0.8),
        Pattern(rf"\b{WRITTEN_DATE}(?:,?(?: at)? {CLOCK})?\b", 0.8),
        Pattern(rf"\b{CLOCK}", 0.6),
        Pattern(CHINESE_DATE, 0.8),
        Pattern(r"(?i)\b(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b", 0.6),
        Pattern(r"(?:星期|周|礼拜)[一二三四五六日天]", 0.6),
        Pattern(
            rf"(?i)\b(?:in|since|of|from|until|till|by|before|after|during|year|to|between|born|circa|around|and|back in|"
            rf"early|late|mid|for)[ -]({YEAR})\b",
            0.6,
            group=1,
        ),
        Pattern(rf"\(({YEAR})\)", 0.5, group=1),
        Pattern(r"(?i)\b(?:today|tomorrow|yesterday|tonight)\b", 0.3),
    )
    apart_from_digits = True


_BIRTH = (
    r"(?i:\b(?:d\.?o\.?b\.?|date of birth|birth ?date|birthday|born(?: on)?|geburtsdatum|geboren am|né(?:e)? le|"
    r"fecha de nacimiento)\b|出生日期|出生于|生于|生日|出生)"
)


class DateOfBirthRecognizer(PatternRecognizer):
    """A date whose neighbouring words say that somebody was born on it."""

    entity = "DATE_OF_BIRTH"
    patterns = (
        Pattern(
            rf"{_BIRTH}[\"']?(?: ?(?:is|was|on|in|the|:|=|：|是|为|,|\|)){{0,3}} ?[\"']?"
            rf"({NUMERIC_DATE}|{WRITTEN_DATE}|{CHINESE_DATE}|{YEAR}\b)",
            0.9,
            group=1,
        ),
        Pattern(rf"({CHINESE_DATE})(?:出生|生)", 0.85, group=1),
    )
