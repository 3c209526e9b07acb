"""An export of the audit: JSON lines that an outside party checks with the public key alone.

Line 1:  {"type": "chain", "tenant", "first_seq", "previous_digest", "format": "llmos-audit-v1"}
Then     {"type": "record", "seq", "record", "digest"}: `record` is the record's bytes as a JSON string, so that nobody
         has to spell JSON as we do; digest_i = SHA-256(digest_(i-1) ‖ record_i), in hexadecimal.
Last     {"type": "head", "tenant", "seq", "digest", "unix_s", "signature"}: Ed25519 over the text
         "llmos-audit-head-v1\\n" followed by the JSON of the other four fields, keys sorted, no spaces.

An export is a whole stretch of a tenant's log; a selection of records could not be verified.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from gateway.audit.chain import Head
from gateway.audit.verify import Link

FORMAT = "llmos-audit-v1"


def chain_line(tenant: str, first_seq: int, previous_digest: bytes) -> str:
    return json.dumps(
        {"type": "chain", "tenant": tenant, "first_seq": first_seq, "previous_digest": previous_digest.hex(), "format": FORMAT}
    )


def record_line(link: Link) -> str:
    return json.dumps({"type": "record", "seq": link.seq, "record": link.record.decode(), "digest": link.digest.hex()})


def head_lines(heads: Iterable[Head]) -> Iterator[str]:
    for head in heads:
        yield json.dumps({"type": "head", **head.to_json()})
