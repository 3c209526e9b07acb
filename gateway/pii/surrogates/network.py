"""Surrogates of network names: addresses of the documentation ranges, hosts of the reserved domains.

IPv4 from 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24 (RFC 5737), IPv6 from 2001:db8::/32 (RFC 3849), MAC addresses with the
locally administered bit (IEEE 802), hosts under example.com, example.net and example.org (RFC 2606). Nothing sent to one of them reaches
anyone. It does NOT keep the network structure: two addresses of one subnet may come out in two.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from gateway.pii.surrogates.base import like_case, plain_canonical
from gateway.pii.surrogates.draw import Draw, Draws
from gateway.pii.surrogates.generic import same_alphabet
from gateway.pii.surrogates.name_lists import GIVEN_LATIN, SURNAMES_LATIN

_PROBES = 64
_DOMAINS = ("example.com", "example.net", "example.org")
_MAIL_DOMAIN = "example.com"  # small models write it in place of the other two
_IPV4_NETS = ("192.0.2", "198.51.100", "203.0.113")
_HEX = "0123456789abcdef"
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)?(?:(?P<login>[^/@\s]*)@)?(?P<host>[^/:?#\s]+)(?P<rest>.*)", re.DOTALL)
_PORT = re.compile(r":\d{1,5}(?=[/?#]|$)")


class EmailAddress:
    """An address `given.surname@` a reserved domain; names of the same request are used where the local part has them."""

    def canonical(self, value: str) -> str:
        return plain_canonical(value)

    def candidates(self, value: str, draws: Draws, *, names: Mapping[str, str] = MappingProxyType({})) -> Iterator[str]:
        """`names` maps the folded name words of the conversation to their surrogates."""
        for probe in range(2):
            token = _from_names(value.partition("@")[0], names, draws.at(probe))
            if token is not None:
                yield token
        for probe in range(_PROBES):
            draw = draws.at(probe)
            number = str(draw.between(2, 99)) if probe >= _PROBES // 2 else ""
            yield f"{draw.pick(GIVEN_LATIN)}.{draw.pick(SURNAMES_LATIN)}{number}@{_MAIL_DOMAIN}".lower()

    def render(self, token: str, value: str) -> str:
        return like_case(token, value)


def local_parts(address: str) -> list[str]:
    """The words of an address's local part, folded, and the separators between them."""
    return re.split(r"([._\-+0-9]+)", address.partition("@")[0].casefold())


def _from_names(local: str, names: Mapping[str, str], draw: Draw) -> str | None:
    """The address of a person whose surrogate names are known; None where a part of the local part is no name of theirs."""
    out, found = [], False
    for part in local_parts(local):
        if part in names:
            out.append(names[part].lower())
            found = True
        elif part[1:] in names:
            first = next((new for old, new in names.items() if old[0] == part[0] and old != part[1:]), names[part[1:]])
            out.append(first[0].lower() + names[part[1:]].lower())
            found = True
        elif len(part) == 1 and part.isalpha():
            out.append(next((new for old, new in names.items() if old[0] == part), draw.pick(GIVEN_LATIN))[0].lower())
        elif part.isalpha():
            return None
        else:
            out.append("".join(chr(48 + draw.below(10)) if ch in "0123456789" else ch for ch in part))
    return f"{''.join(out)}@{_MAIL_DOMAIN}" if found else None


class IpAddress:
    """IPv4 and IPv6 addresses; the documentation networks have 762 IPv4 hosts, taken in keyed order."""

    def canonical(self, value: str) -> str:
        try:
            return ipaddress.ip_address(value.strip().split("%")[0].split("/")[0]).compressed
        except ValueError:
            return plain_canonical(value)

    def candidates(self, value: str, draws: Draws) -> Iterator[str]:
        canonical = self.canonical(value)
        if ":" in canonical:
            for probe in range(_PROBES):
                draw = draws.at(probe)
                yield "2001:db8:" + ":".join(f"{draw.between(1, 0xFFFF):x}" for _ in range(6))
        elif canonical.count(".") == 3:
            for index in draws.order(254 * len(_IPV4_NETS)):
                token = f"{_IPV4_NETS[index % 3]}.{1 + index // 3}"
                if token != canonical:
                    yield token

    def render(self, token: str, value: str) -> str:
        tail = re.search(r"/\d{1,3}$", value)
        return token + (tail[0] if tail else "")


class MacAddress:
    """Locally administered unicast addresses: the second-lowest bit of the first byte set, the lowest clear."""

    def canonical(self, value: str) -> str:
        return "".join(ch for ch in value.lower() if ch in _HEX)

    def candidates(self, value: str, draws: Draws) -> Iterator[str]:
        size = len(self.canonical(value))
        if size not in (12, 16):
            return
        for probe in range(_PROBES):
            draw = draws.at(probe)
            yield draw.pick(_HEX) + draw.pick("26ae") + "".join(draw.pick(_HEX) for _ in range(size - 2))

    def render(self, token: str, value: str) -> str:
        places = [index for index, ch in enumerate(value) if ch.lower() in _HEX]
        out = list(value)
        upper = any(ch in "ABCDEF" for ch in value)
        for index, ch in zip(places, token, strict=False):
            out[index] = ch.upper() if upper else ch
        return "".join(out)


class Url:
    """A URL at a reserved domain: scheme, port and the shape of the rest stay; login, host, path and query are new."""

    def canonical(self, value: str) -> str:
        return value.strip()

    def candidates(self, value: str, draws: Draws) -> Iterator[str]:
        match = _URL.fullmatch(value.strip())
        if match is None:
            return
        for probe in range(_PROBES):
            draw = draws.at(probe)
            host = f"{draw.pick(SURNAMES_LATIN).lower()}.{draw.pick(_DOMAINS)}"
            login = f"{same_alphabet(match['login'], draw)}@" if match["login"] is not None else ""
            rest = match["rest"]
            port = _PORT.match(rest)
            kept = port[0] if port else ""
            yield f"{match['scheme'] or ''}{login}{host}{kept}{same_alphabet(rest[len(kept) :], draw)}"

    def render(self, token: str, value: str) -> str:
        return token


EMAIL = EmailAddress()
IP = IpAddress()
MAC = MacAddress()
URL = Url()
