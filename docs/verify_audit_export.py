#!/usr/bin/env python3
"""Verify an export of LLMOS' audit log with the public key alone. Needs Python 3.9 and the package `cryptography`, nothing of LLMOS.

    llmos audit export acme -o acme.jsonl      # the operator gives you this file,
    llmos audit public-key                     # and, by another way, this key
    python verify_audit_export.py acme.jsonl PUBLIC_KEY_HEX

The export is JSON lines. The first says where the stretch begins in the tenant's chain, and with which digest. Each record comes as
the very bytes that were written, with its digest: SHA-256 over the digest before it and those bytes. Each head bears an Ed25519
signature over the number and digest of a record. So nobody without the gateway's key can change, drop, add or reorder a record up to
the last head. What it can't show: records cut off behind a head that you have never seen, and requests that were never recorded.

Exit status: 0 it holds, 1 it does not, 2 this is no export.
"""

import hashlib
import json
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def verify(lines, public_key_hex):
    """The faults as sentences, the records seen, and the number of the last record that a head covers."""
    public_key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key_hex))
    faults, digests, signed_seq, count = [], {}, 0, 0
    chain = json.loads(next(lines))
    if chain["type"] != "chain" or chain["format"] != "llmos-audit-v1":
        raise ValueError("the first line is no chain of an LLMOS audit export")
    tenant, expected_seq = chain["tenant"], chain["first_seq"]
    previous = bytes.fromhex(chain["previous_digest"])
    if expected_seq == 1 and previous != hashlib.sha256(b"llmos-audit-v1\0" + tenant.encode()).digest():
        faults.append("the chain does not begin where this tenant's chain begins")
    digests[expected_seq - 1] = previous
    for line in lines:
        entry = json.loads(line)
        if entry["type"] == "record":
            seq, record = entry["seq"], entry["record"].encode()
            if seq != expected_seq:
                faults.append(f"record {expected_seq} is missing, or record {seq} stands in the wrong place")
            own = json.loads(record)
            if (own["seq"], own["tenant"]) != (seq, tenant):
                faults.append(f"record {seq} is not the record that was written here")
            if hashlib.sha256(previous + record).digest().hex() != entry["digest"]:
                faults.append(f"record {seq} was changed, or follows another record than the one before it")
            previous = digests[seq] = bytes.fromhex(entry["digest"])
            expected_seq, count = seq + 1, count + 1
        elif entry["type"] == "head":
            named = {name: entry[name] for name in ("tenant", "seq", "digest", "unix_s")}
            signed = b"llmos-audit-head-v1\n" + json.dumps(named, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
            try:
                public_key.verify(bytes.fromhex(entry["signature"]), signed)
            except InvalidSignature:
                faults.append(f"the head after record {entry['seq']} is not signed with this key")
                continue
            if entry["tenant"] != tenant or digests.get(entry["seq"], b"").hex() != entry["digest"]:
                faults.append(f"the head after record {entry['seq']} names another record than the one in this file")
            else:
                signed_seq = max(signed_seq, entry["seq"])
        else:
            raise ValueError("a line is neither a record nor a head")
    if signed_seq < expected_seq - 1:
        faults.append(f"the records after {signed_seq} are covered by no signed head")
    return faults, count, signed_seq


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        with open(sys.argv[1], encoding="utf-8") as lines:
            faults, count, signed_seq = verify(lines, sys.argv[2])
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        print(f"this is no audit export, or no public key: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print("\n".join(faults) if faults else f"holds: {count} records, signed up to {signed_seq}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
