"""E-mail addresses, with plus tags, quoted, obfuscated by (at) and (dot), and in internationalised domains."""

from __future__ import annotations

from gateway.pii.recognizers.base import Pattern, PatternRecognizer


class EmailRecognizer(PatternRecognizer):
    """No suffix list is asked: an address at an unknown top-level domain is personal all the same."""

    entity = "EMAIL_ADDRESS"
    patterns = (
        Pattern(
            r"(?i)[a-z0-9](?:[a-z0-9._%+'-]{0,62}[a-z0-9_+])?@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+"
            r"(?:[a-z]{2,24}|xn--[a-z0-9-]{2,30})\b",
            0.95,
        ),
        Pattern(r"(?i)[\p{L}\p{N}][\p{L}\p{N}._%+-]{0,63}@(?:[\p{L}\p{N}](?:[\p{L}\p{N}-]{0,61}[\p{L}\p{N}])?\.)+\p{L}{2,24}", 0.8),
        Pattern(
            r"(?i)\b[a-z0-9][a-z0-9._%+-]{0,63} ?(?:\(at\)|\[at\]|\{at\}) ?[a-z0-9-]{1,63}"
            r"(?: ?(?:\.|\(dot\)|\[dot\]|\{dot\}) ?[a-z0-9-]{2,63}){1,4}\b",
            0.8,
        ),
        Pattern(r"(?i)\b[a-z0-9][a-z0-9._%+-]{0,63}@(?:\d{1,3}\.){3}\d{1,3}\b", 0.6),
        Pattern(r"(?i)\b[a-z0-9][a-z0-9._%+-]{0,63}@localhost\b", 0.4),
    )
