"""Walk a chain and name each record that was changed, is missing, stands in the wrong place or was cut off.

The walk goes on behind a fault with what the log says of itself, so that one changed record is one finding. With the
gateway's key every record's MAC is checked; without it (an outside party) only the digests and the signed heads, which
then cover the records up to the last head.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.audit.chain import Head, first_digest, head_holds, mac, next_digest

Fault = Literal["changed", "forged", "missing", "reordered", "truncated", "bad_head", "unsigned_tail"]
MAX_FINDINGS = 1000


@dataclass(frozen=True, slots=True)
class Link:
    """One entry of the log: its place, the record's bytes, its digest and its MAC (empty in an export)."""

    seq: int
    record: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    mac: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault and the records [first, last] that it concerns."""

    fault: Fault
    first: int
    last: int

    def __str__(self) -> str:
        which = f"record {self.first}" if self.first == self.last else f"records {self.first} to {self.last}"
        return {
            "changed": f"{which}: changed after it was written",
            "forged": f"{which}: not written by this gateway (the MAC does not hold)",
            "missing": f"{which}: missing",
            "reordered": f"{which}: not the record that was written here",
            "truncated": f"{which}: cut off the end; a signed head says that they stood here",
            "bad_head": f"the head after {which}: its signature does not hold, or it names another chain",
            "unsigned_tail": f"{which}: not yet covered by a signed head",
        }[self.fault]


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found. `unsigned_tail` alone is no fault of the log."""

    tenant: str
    records: int
    last_seq: int
    signed_seq: int
    findings: tuple[Finding, ...]

    @property
    def holds(self) -> bool:
        return all(finding.fault == "unsigned_tail" for finding in self.findings)


class Verifier:
    """Takes the links of one tenant's log in order, then the heads, and gives a report."""

    def __init__(self, tenant: str, *, tenant_key: bytes | None, first_seq: int = 1, previous_digest: bytes | None = None) -> None:
        """`first_seq` and `previous_digest` begin an export that starts inside the chain."""
        self._tenant = tenant
        self._tenant_key = tenant_key
        self._previous = previous_digest if previous_digest is not None else first_digest(tenant)
        self._next_seq = first_seq
        self._count = 0
        self._digests: dict[int, bytes] = {first_seq - 1: self._previous}
        self._findings: list[Finding] = []

    def take(self, link: Link) -> None:
        """Check one link. Links come in the order of the log."""
        if link.seq > self._next_seq:
            self._found("missing", self._next_seq, link.seq - 1)
        elif link.seq < self._next_seq:
            self._found("reordered", link.seq, link.seq)
        gap = link.seq != self._next_seq
        if _own_seq(link.record) != (self._tenant, link.seq):
            self._found("reordered" if _own_seq(link.record)[0] == self._tenant else "changed", link.seq, link.seq)
        elif not gap and not hmac.compare_digest(next_digest(self._previous, link.record), link.digest):
            self._found("changed", link.seq, link.seq)
        elif self._tenant_key is not None and not hmac.compare_digest(mac(self._tenant_key, link.digest), link.mac):
            self._found("forged", link.seq, link.seq)
        self._previous = link.digest
        self._digests[link.seq] = link.digest
        self._next_seq = max(self._next_seq, link.seq) + 1
        self._count += 1

    def finish(self, heads: Iterable[Head], public: Ed25519PublicKey) -> Report:
        """Check the signed heads against the digests seen, and close the report."""
        last, signed, cut_from = self._next_seq - 1, 0, None
        for head in heads:
            if head.tenant != self._tenant or not head_holds(head, public):
                self._found("bad_head", head.seq, head.seq)
            elif head.seq > last:
                cut_from = max(cut_from or 0, head.seq)
            elif head.seq in self._digests:
                if self._digests[head.seq].hex() != head.digest:
                    self._found("changed", head.seq, head.seq)
                signed = max(signed, head.seq)
        if cut_from is not None:
            self._found("truncated", last + 1, cut_from)
        elif signed < last:
            self._found("unsigned_tail", signed + 1, last)
        return Report(self._tenant, self._count, last, signed, tuple(dict.fromkeys(self._findings)))

    def _found(self, fault: Fault, first: int, last: int) -> None:
        if len(self._findings) < MAX_FINDINGS:
            self._findings.append(Finding(fault, first, last))


async def verify_log(
    tenant: str,
    links: AsyncIterator[Link],
    heads: Sequence[Head],
    public: Ed25519PublicKey,
    tenant_key: bytes,
    progress: Callable[[int], None] = lambda seq: None,
) -> Report:
    """Verify a whole log with the gateway's key."""
    verifier = Verifier(tenant, tenant_key=tenant_key)
    async for link in links:
        verifier.take(link)
        progress(link.seq)
    return verifier.finish(heads, public)


def verify_export(lines: Iterable[str], public: Ed25519PublicKey) -> Report:
    """Verify an export with the public key alone. Raises ValueError for a file that is no export.

    The lines are described in `gateway.audit.export`. The public key must come from the gateway's operator by another
    way than the file itself.
    """
    verifier: Verifier | None = None
    heads = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            if entry["type"] == "chain":
                verifier = Verifier(
                    entry["tenant"],
                    tenant_key=None,
                    first_seq=int(entry["first_seq"]),
                    previous_digest=bytes.fromhex(entry["previous_digest"]),
                )
            elif entry["type"] == "record" and verifier is not None:
                verifier.take(Link(int(entry["seq"]), entry["record"].encode(), bytes.fromhex(entry["digest"])))
            elif entry["type"] == "head":
                heads.append(Head.from_json(entry))
            else:
                raise ValueError("unexpected type")
        except (ValueError, KeyError, TypeError, AttributeError) as bad:
            raise ValueError(f"line {number} is not a line of an audit export: {type(bad).__name__}") from None
    if verifier is None:
        raise ValueError("the file is empty")
    return verifier.finish(heads, public)


def _own_seq(record: bytes) -> tuple[str | None, int]:
    """The tenant and the place that the record itself names; (None, 0) where it can't be read."""
    try:
        plain = orjson.loads(record)
        return plain["tenant"], plain["seq"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None, 0
