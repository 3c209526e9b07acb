"""The cryptographic primitives of the protocol, each bound to the session and to the two clients it stands between.

X25519 (RFC 7748) for agreement, HKDF-SHA-256 (RFC 5869) for keys, AES-256-GCM for envelopes, Ed25519 (RFC 8032) for
identities. Every key is used for one purpose in one session, so a fixed nonce for its single message is safe.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from federated_trainer.errors import PeerRejected

_ONE_MESSAGE_NONCE = bytes(12)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An X25519 pair for one session; the private half stays out of repr."""

    private: bytes
    public: bytes

    @classmethod
    def generate(cls) -> KeyPair:
        return cls.from_private(X25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def from_private(cls, private: bytes) -> KeyPair:
        return cls(private, X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public.hex()[:8]}…)"


def agree(own: KeyPair, other_public: bytes, purpose: bytes, session_id: bytes, low: int, high: int) -> bytes:
    """32 bytes that both ends derive, whichever of the two clients calls. Raises PeerRejected on a low-order public key."""
    try:
        secret = X25519PrivateKey.from_private_bytes(own.private).exchange(X25519PublicKey.from_public_bytes(other_public))
    except ValueError as error:
        raise PeerRejected("A client advertised a public key that gives no secret; it must restart its session.") from error
    first, second = sorted((low, high))
    return derive(secret, purpose, session_id, first, second)


def derive(secret: bytes, purpose: bytes, session_id: bytes, *identifiers: int) -> bytes:
    """HKDF-SHA-256 with the session as salt; purpose and identifiers as info."""
    info = purpose + b"".join(struct.pack(">Q", identifier) for identifier in identifiers)
    return HKDF(hashes.SHA256(), 32, session_id, info).derive(secret)


def seal(key: bytes, session_id: bytes, sender: int, receiver: int, plaintext: bytes) -> bytes:
    """AES-256-GCM under a key of this direction only; sender, receiver and session are bound."""
    directed = derive(key, b"envelope", session_id, sender, receiver)
    return AESGCM(directed).encrypt(_ONE_MESSAGE_NONCE, plaintext, session_id)


def unseal(key: bytes, session_id: bytes, sender: int, receiver: int, ciphertext: bytes) -> bytes:
    """The plaintext. Raises PeerRejected where the envelope was altered or is not of this sender, receiver and session."""
    directed = derive(key, b"envelope", session_id, sender, receiver)
    try:
        return AESGCM(directed).decrypt(_ONE_MESSAGE_NONCE, ciphertext, session_id)
    except InvalidTag as error:
        raise PeerRejected("An envelope does not open: it was altered, or made for another session.") from error


def sign(identity_private: bytes, message: bytes) -> bytes:
    """An Ed25519 signature of 64 bytes."""
    return Ed25519PrivateKey.from_private_bytes(identity_private).sign(message)


def verifies(identity_public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(identity_public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
