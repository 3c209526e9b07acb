"""Addresses of machines: IPv4, IPv6 (RFC 4291 text forms) and MAC addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from gateway.pii.reading import Reading
from gateway.pii.recognizers.base import Finding, Pattern, PatternRecognizer


class IpAddressRecognizer(PatternRecognizer):
    entity = "IP_ADDRESS"
    patterns = (
        Pattern(r"\b(?:\d{1,3}\.){3}\d{1,3}\b(?:/\d{1,2}\b)?", 0.8),
        Pattern(r"(?i)(?:\b[0-9a-f]{1,4}|:):[0-9a-f:]*[0-9a-f:.]*(?:%[a-z0-9]{1,15})?(?:/\d{1,3}\b)?", 0.8),
    )
    context_words = ("ip", "ipv4", "ipv6", "address", "host", "server")

    def validate(self, value: str) -> bool:
        value = value.partition("%")[0].partition("/")[0]
        if ":" in value and value.count(":") < 2:
            return False
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            return False
        return not address.is_unspecified and (len(value) > 4 or "::" not in value)

    def find(self, reading: Reading) -> Iterator[Finding]:
        for finding in super().find(reading):
            text = reading.text
            after = text[finding.end : finding.end + 2]
            # 1.2.3.4.5 is a version, not an address.
            if len(after) == 2 and after[0] == "." and after[1].isdigit():
                continue
            if finding.start >= 2 and text[finding.start - 1] == "." and text[finding.start - 2].isdigit():
                continue
            yield finding


class MacAddressRecognizer(PatternRecognizer):
    entity = "MAC_ADDRESS"
    patterns = (
        Pattern(r"(?i)\b[0-9a-f]{2}(?::[0-9a-f]{2}){5}\b", 0.9),
        Pattern(r"(?i)\b[0-9a-f]{2}(?:-[0-9a-f]{2}){5}\b", 0.9),
        Pattern(r"(?i)\b[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}\b", 0.8),
        Pattern(r"(?i)\b[0-9a-f]{12}\b", 0.0, with_context=0.6),
    )
    context_words = ("mac", "mac address", "ethernet", "hwaddr", "bssid")
