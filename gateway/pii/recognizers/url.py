"""Web addresses. The login part of an address (RFC 3986, userinfo) is a credential: see secret."""

from __future__ import annotations

from gateway.pii.recognizers.base import Pattern, PatternRecognizer


class UrlRecognizer(PatternRecognizer):
    entity = "URL"
    patterns = (
        Pattern(r"(?i)\b(?:https?|ftp|wss?)://[^\s<>\"'`，。；）】]+[^\s<>\"'`，。；）】.,;:!?)\]}]", 0.8),
        Pattern(r"(?i)\bwww\.(?:[a-z0-9-]{1,63}\.)+[a-z]{2,24}(?:/[^\s<>\"'`，。；）】]*[^\s<>\"'`，。；）】.,;:!?)\]}])?", 0.7),
        Pattern(
            r"(?i)\b(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+"
            r"(?:com|org|net|edu|gov|info|biz|io|dev|app|me|co|uk|us|de|fr|cn|jp|au|ca|eu)\b"
            r"(?:/[a-z0-9._~/?#&=%+-]*)?",
            0.5,
        ),
    )
