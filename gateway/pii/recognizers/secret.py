"""Credentials: keys of known services by their prefixes, tokens, private keys, passwords beside the words that name them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from gateway.pii.reading import Reading
from gateway.pii.recognizers.base import Finding, Pattern, PatternRecognizer

_NAME = (
    r"(?:api[ _-]?key|apikey|secret(?:[ _-]?(?:key|access[ _-]?key|token))?|access[ _-]?(?:key|token)|"
    r"auth[ _-]?token|client[ _-]?secret|private[ _-]?key|"
    r"session[ _-]?(?:id|token)|refresh[ _-]?token|bearer|token|encryption[ _-]?key|signing[ _-]?key|webhook[ _-]?secret|密钥|令牌)"
)


class SecretRecognizer(PatternRecognizer):
    """Keys of services are sure by their prefix; a generic value must look random (Shannon entropy of its characters)."""

    entity = "SECRET"
    verbatim = True
    patterns = (
        Pattern(
            r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----(?s:.+?)-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY"
            r"(?: BLOCK)?-----",
            1.0,
        ),
        Pattern(r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:\s|\\+[nr])*[A-Za-z0-9+/=]{16,}[A-Za-z0-9+/=\s\\]*", 0.95),
        Pattern(r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)?", 0.95),  # JWT, RFC 7519
        Pattern(r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA|ABIA|ACCA)[0-9A-Z]{16}\b", 0.95),  # AWS
        Pattern(r"\bAIza[0-9A-Za-z_-]{35}", 0.95),  # Google
        Pattern(r"\bya29\.[0-9A-Za-z_-]{20,}", 0.95),
        Pattern(r"\bGOCSPX-[0-9A-Za-z_-]{20,}", 0.95),
        Pattern(r"\b(?:ghp|gho|ghu|ghs|ghr)_[0-9A-Za-z]{30,}\b", 0.95),  # GitHub
        Pattern(r"\bgithub_pat_[0-9A-Za-z_]{30,}", 0.95),
        Pattern(r"\bglpat-[0-9A-Za-z_-]{18,}", 0.95),  # GitLab
        Pattern(r"\bxox[abeoprs]-[0-9A-Za-z-]{10,}", 0.95),  # Slack
        Pattern(r"hooks\.slack\.com/services/([0-9A-Za-z/]{20,})", 0.95, group=1),
        Pattern(r"\b(?:sk|rk|pk)_(?:live|test)_[0-9A-Za-z]{10,}\b", 0.95),  # Stripe
        Pattern(r"\bwhsec_[0-9A-Za-z+/=]{20,}", 0.95),
        Pattern(r"\bsk-(?:ant-|proj-|svcacct-|or-v1-)?[0-9A-Za-z_-]{20,}", 0.95),  # OpenAI, Anthropic
        Pattern(r"\b(?:hf|r8|npm|dop_v1|pypi|glsa|shpat|shpss|lin_api|ntn|figd|tvly)[_-][0-9A-Za-z_-]{20,}", 0.95),
        Pattern(r"\bSG\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}", 0.95),  # SendGrid
        Pattern(r"\b(?:AC|SK)[0-9a-f]{32}\b", 0.9),  # Twilio
        Pattern(r"\bkey-[0-9a-f]{32}\b", 0.9),  # Mailgun
        Pattern(r"\b\d{8,10}:AA[0-9A-Za-z_-]{32,34}", 0.95),  # Telegram
        Pattern(r"\bLTAI[0-9A-Za-z]{12,24}\b", 0.95),  # Alibaba Cloud
        Pattern(r"\bAKID[0-9A-Za-z]{13,40}\b", 0.95),  # Tencent Cloud
        Pattern(r"(?i)\bAccountKey=([0-9a-z+/]{40,}={0,2})", 0.95, group=1),  # Azure
        Pattern(r"(?i)\b[a-z][a-z0-9+.-]{1,20}://([^\s/@:\"'<>]{1,128}:[^\s/@\"'<>]{1,128})@[^\s/@]", 0.95, group=1),  # RFC 3986 userinfo
        Pattern(r"(?i)\b(?:authorization ?: ?(?:basic|bearer)|bearer) +([0-9a-z._~+/=-]{16,})", 0.9, group=1),
        Pattern(rf"(?i){_NAME}[\"'\]]?(?: is| was|为|是)? ?(?:=>|[:=：]| )[ \"'`]{{0,3}}([0-9a-z._~+/!@#$%^&*=-]{{12,512}})", 0.7, group=1),
        Pattern(
            r"(?i)(?:\b|_)(?:password|passwd|passphrase|pwd|pass|pin|passcode|otp|密码|口令)[\"'\]]?(?: is| was|为|是)? ?"
            r"(?:=>|[:=：]|\bis\b|是|为)[ \"'`]{0,3}([^\s\"'`,;，。；]{4,128})",
            0.75,
            group=1,
        ),
        Pattern(
            r"(?i)(?:\b|_)(?:password|passwd|passphrase|pwd|passcode|密码)(?: is| was) [\"'`]{0,1}([^\s\"'`,;，。；]{4,128})", 0.7, group=1
        ),
    )

    def find(self, reading: Reading) -> Iterator[Finding]:
        for finding in super().find(reading):
            value = reading.text[finding.start : finding.end]
            if finding.score == 0.7 and not looks_random(value):
                continue
            if finding.score == 0.75 and value.lower().rstrip(".!?") in _NO_PASSWORDS:
                continue
            yield finding


_NO_PASSWORDS = frozenset({
    "required", "reset", "incorrect", "wrong", "invalid", "expired", "protected", "none", "null", "true", "false", "string", "password",
    "optional", "changed", "not", "secret", "strong", "weak", "correct", "hidden", "empty", "missing", "str", "undefined", "encrypted",
    "input", "text",
})  # fmt: skip


def looks_random(value: str) -> bool:
    """At least two classes of characters with a digit among them, and 2.5 bits of entropy a character."""
    classes = (
        any(c.islower() for c in value)
        + any(c.isupper() for c in value)
        + any(c.isdigit() for c in value)
        + any(not c.isalnum() for c in value)
    )
    counts = Counter(value)
    entropy = -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values())
    return classes >= 2 and any(c.isdigit() for c in value) and entropy >= 2.5
