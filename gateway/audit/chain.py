"""Each record is chained to all before it: SHA-256 for everybody, HMAC for us, Ed25519 over the heads.

For a tenant, with record bytes r_1, r_2, … (canonical JSON that holds the tenant and the sequence number):

    d_0 = SHA-256("llmos-audit-v1" ‖ 0x00 ‖ tenant)
    d_i = SHA-256(d_(i-1) ‖ r_i)                 anyone can recompute it
    m_i = HMAC-SHA-256(K_tenant, d_i)            only the gateway can make it
    s_n = Ed25519(signing key, head of n)        every N records; the public key suffices to check it

Who can write to the store but has no key can neither change nor remove nor reorder a record without breaking m_i, nor
cut the log below a head that somebody keeps elsewhere. Not covered: records cut off the end after the last head that
was kept outside the store, and a gateway that never wrote a record.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_DOMAIN = b"llmos-audit-v1\0"
_HEAD_DOMAIN = b"llmos-audit-head-v1\n"


def canonical(record: Mapping[str, object]) -> bytes:
    """The one spelling of a record: UTF-8 JSON, keys sorted, no spaces."""
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS)


def first_digest(tenant: str) -> bytes:
    """d_0 of the tenant's chain."""
    return hashlib.sha256(_DOMAIN + tenant.encode()).digest()


def next_digest(previous: bytes, record: bytes) -> bytes:
    """d_i from d_(i-1) and r_i."""
    return hashlib.sha256(previous + record).digest()


@dataclass(frozen=True, slots=True)
class Head:
    """The state of a tenant's chain after `seq` records, signed."""

    tenant: str
    seq: int
    digest: str  # hexadecimal
    unix_s: float
    signature: str = ""  # hexadecimal, over `signed_bytes`

    def signed_bytes(self) -> bytes:
        return _HEAD_DOMAIN + canonical({"tenant": self.tenant, "seq": self.seq, "digest": self.digest, "unix_s": self.unix_s})

    def to_json(self) -> dict[str, Any]:
        return {"tenant": self.tenant, "seq": self.seq, "digest": self.digest, "unix_s": self.unix_s, "signature": self.signature}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Head:
        """Raises KeyError, TypeError or ValueError for what is no head."""
        return cls(str(plain["tenant"]), int(plain["seq"]), str(plain["digest"]), float(plain["unix_s"]), str(plain["signature"]))


@dataclass(frozen=True, slots=True)
class AuditKeys:
    """The keys of the audit, derived from the gateway's key for this purpose."""

    mac_root: bytes = field(repr=False)
    signing: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def derive(cls, audit_key: bytes) -> AuditKeys:
        """From at least 32 bytes: HKDF-SHA-256 (RFC 5869) with one label a key."""
        if len(audit_key) < 32:
            raise ValueError("the audit key needs at least 32 bytes")
        return cls(_derive(audit_key, b"llmos/audit/mac"), Ed25519PrivateKey.from_private_bytes(_derive(audit_key, b"llmos/audit/sign")))

    def tenant_key(self, tenant: str) -> bytes:
        """K_tenant, 32 bytes."""
        return _derive(self.mac_root, b"llmos/audit/tenant/" + tenant.encode())

    @property
    def public(self) -> Ed25519PublicKey:
        return self.signing.public_key()

    def sign(self, tenant: str, seq: int, digest: bytes, unix_s: float) -> Head:
        head = Head(tenant, seq, digest.hex(), unix_s)
        return Head(tenant, seq, head.digest, unix_s, self.signing.sign(head.signed_bytes()).hex())


def mac(tenant_key: bytes, digest: bytes) -> bytes:
    """m_i from d_i."""
    return hmac.digest(tenant_key, digest, "sha256")


def head_holds(head: Head, public: Ed25519PublicKey) -> bool:
    """Whether the head bears a signature of this key."""
    try:
        public.verify(bytes.fromhex(head.signature), head.signed_bytes())
    except (InvalidSignature, ValueError):
        return False
    return True


def public_key_text(public: Ed25519PublicKey) -> str:
    """The public key as 64 hexadecimal digits (RFC 8032 encoding)."""
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def public_key_from_text(text: str) -> Ed25519PublicKey:
    """Raises ValueError for anything but 64 hexadecimal digits."""
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text.strip()))


def _derive(key: bytes, label: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=label).derive(key)
