"""Ages of persons, as numbers or words beside "years old", "aged", "岁"."""

from __future__ import annotations

from gateway.pii.recognizers.base import Pattern, PatternRecognizer

_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_ONES = "one|two|three|four|five|six|seven|eight|nine"
_WORD = rf"(?:(?:{_TENS})(?:[- ](?:{_ONES}))?|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|{_ONES})"
_NUMBER = rf"(?:1[0-2]\d|\d{{1,2}}|{_WORD})"


class AgeRecognizer(PatternRecognizer):
    """The value is the number; the words that make it an age stay."""

    entity = "AGE"
    patterns = (
        Pattern(rf"(?i)\b({_NUMBER})(?:[ -]?(?:and a half|½))?[ -]?(?:years?|yrs?|y|months?|weeks?)[ -]?(?:old|of age|o)\b", 0.85, group=1),
        Pattern(
            rf"(?i)\b(?:aged?|age is|age of|age:|age =|\"?age\"? ?[:=]|turn(?:s|ed|ing)?|at the age of|at age) ?['\"]?"
            rf"({_NUMBER})\b",
            0.75,
            group=1,
        ),
        Pattern(
            rf"(?i)\b(?:i am|i'm|he is|he's|she is|she's|is|who is|was|am) (?:only |just |now |about |already |almost )?"
            rf"({_NUMBER})(?: ?(?:[.!?;,]|$)| and )",
            0.5,
            group=1,
        ),
        Pattern(r"(?i)\b(\d{1,3}) ?(?:yo|y/o|y\.o\.|yr old)(?:\b|[^\w])", 0.8, group=1),
        Pattern(r"(?i)\b(1[0-2]\d|\d{1,2})[- ]?(?:year|yr)s?[- ]old", 0.85, group=1),
        Pattern(r"(?:^|[^\d])(1[0-2]\d|\d{1,2}|[一二三四五六七八九十]{1,4})(?:周)?岁", 0.85, group=1),
        Pattern(r"年龄[是为：:]? ?(1[0-2]\d|\d{1,2})", 0.85, group=1),
    )
