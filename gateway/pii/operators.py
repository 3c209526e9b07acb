"""Replacements that need no vault: mask, redact, keyed hash, encryption in place.

Mask and redact are Presidio's operators; the hash and the encryption are ours, as Presidio operators, so that Presidio's
engine can be given them too. The hash is HMAC-SHA-256 under a tenant's key: equal values are linkable within the tenant, and a
guess can't be tested without the key. The encryption is AES-256-GCM-SIV under a master key, tenant and entity as associated data; its
nonce is an HMAC of the value under the conversation's key, so that one value has one ciphertext throughout a conversation.
It does NOT hide a value's length (mask, encrypt).
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Any

from presidio_anonymizer.entities import InvalidParamError
from presidio_anonymizer.operators import Mask, Operator, OperatorType, Redact

from gateway.pii.conversation import framed
from gateway.pii.keyring import KeyRing, KeyRingError
from gateway.pii.surrogates.base import plain_canonical

_PURPOSE = "encrypt-in-place"
_MASK = Mask()
_REDACT = Redact()


class KeyedHash(Operator):
    """`<ENTITY#12 hexadecimal digits>`. Parameters: key (32 bytes), entity_type."""

    def operate(self, text: str, params: dict[Any, Any] | None = None) -> str:
        params = params or {}
        digest = hmac.digest(params["key"], framed(params["entity_type"].encode(), plain_canonical(text).encode("utf-8")), "sha256")
        return f"<{params['entity_type']}#{digest.hex()[:12]}>"

    def validate(self, params: dict[Any, Any] | None = None) -> None:
        key = (params or {}).get("key")
        if not isinstance(key, bytes) or len(key) != 32:
            raise InvalidParamError("keyed_hash needs `key`, 32 bytes")

    def operator_name(self) -> str:
        return "keyed_hash"

    def operator_type(self) -> OperatorType:
        return OperatorType.Anonymize


class SealInPlace(Operator):
    """`<ENTITY:base64url>`. Parameters: ring (KeyRing), tenant, entity_type, nonce_key (32 bytes)."""

    def operate(self, text: str, params: dict[Any, Any] | None = None) -> str:
        params = params or {}
        entity = params["entity_type"]
        associated = framed(params["tenant"].encode("utf-8"), entity.encode())
        nonce = hmac.digest(params["nonce_key"], framed(b"encrypt", entity.encode(), text.encode("utf-8")), "sha256")[:12]
        sealed = params["ring"].wrap(text.encode("utf-8"), associated, purpose=_PURPOSE, nonce=nonce)
        return f"<{entity}:{base64.urlsafe_b64encode(sealed).decode().rstrip('=')}>"

    def validate(self, params: dict[Any, Any] | None = None) -> None:
        given = params or {}
        if not isinstance(given.get("ring"), KeyRing) or not isinstance(given.get("tenant"), str):
            raise InvalidParamError("seal_in_place needs `ring` and `tenant`")

    def operator_name(self) -> str:
        return "seal_in_place"

    def operator_type(self) -> OperatorType:
        return OperatorType.Anonymize


_KEYED_HASH = KeyedHash()
_SEAL = SealInPlace()


def mask(value: str) -> str:
    """An asterisk for each character."""
    masked: str = _MASK.operate(value, {"masking_char": "*", "chars_to_mask": len(value), "from_end": False})
    return masked


def redact(value: str) -> str:
    """Nothing in its place."""
    redacted: str = _REDACT.operate(value, {})
    return redacted


def keyed_hash(value: str, entity: str, ring: KeyRing, tenant: str) -> str:
    """Linkable within the tenant, over conversations and key rotations; not reversible."""
    key = hmac.digest(ring.index_key("hash"), tenant.encode("utf-8"), "sha256")
    return _KEYED_HASH.operate(value, {"key": key, "entity_type": entity})


def seal(value: str, entity: str, ring: KeyRing, tenant: str, nonce_key: bytes) -> str:
    """The value encrypted, as text that stands in its place."""
    return _SEAL.operate(value, {"ring": ring, "tenant": tenant, "entity_type": entity, "nonce_key": nonce_key})


def unseal(sealed: str, ring: KeyRing, tenant: str) -> str:
    """The value of a text that `seal` gave. Raises KeyRingError where it is none, or another tenant's."""
    entity, _, body = sealed.strip("<>").partition(":")
    try:
        wrapped = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    except (ValueError, binascii.Error) as error:
        raise KeyRingError("this is not an encrypted value") from error
    return ring.unwrap(wrapped, framed(tenant.encode("utf-8"), entity.encode()), purpose=_PURPOSE).decode("utf-8")
