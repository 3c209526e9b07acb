"""Sealed boxes between a caller and one party, carried by a gateway that must not read them.

1. The caller sends a fresh X25519 key e to the party, whose long-term key S it has from the deployment's operator.
2. The party answers with a fresh key f. Both derive HKDF-SHA-256(DH(e, S) || DH(e, f)), salted with the hash of everything
   said so far (label, model digest, party, S, e, f), one key a direction: the agreement of Noise's NK pattern (Perrin, The Noise Protocol
   Framework, revision 34, section 7.5). Only the holder of S can go on; a replayed e meets a fresh f, so nothing is ever sealed twice under
   one key and number; a later theft of S opens no earlier box.
3. Every frame then travels as ChaCha20-Poly1305 (RFC 8439) with its number as the nonce, padded to a power of two of at least 8 KiB. A box
   that is altered, repeated, dropped, out of order, cut, or sealed for the other party does not open, and ends the request.

The carrier sees how many boxes pass, their padded sizes and when. The caller stays anonymous to the party. It does NOT make a gateway that
lies about being up answer; it can only refuse service.
"""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import Any, Protocol

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mpc_inference import transport
from mpc_inference.errors import ConfigInvalid, FrameInvalid

LABEL = b"llmos mpc sealed lane 1"
SMALLEST_BOX = 1 << 13
LARGEST_BOX = 1 << 24
_HEAD = struct.Struct("!BI")  # kind and length of the frame inside
_TAG_BYTES = 16


class Carrier(Protocol):
    """Takes boxes to the other side, and brings its boxes."""

    def send(self, kind: int, payload: bytes) -> None: ...

    def receive(self, kind: int) -> bytearray: ...

    def set_deadline(self, timeout_s: float | None) -> None: ...

    def close(self) -> None: ...


def padded_bytes(length: int) -> int:
    """The size of the box that holds a frame of `length` bytes: what a carrier sees. Raises FrameInvalid over LARGEST_BOX."""
    needed = length + _HEAD.size + _TAG_BYTES
    size = max(SMALLEST_BOX, 1 << (needed - 1).bit_length())
    if size > LARGEST_BOX:
        raise FrameInvalid("a frame is too large for a sealed box")
    return size


class SealedLane:
    """Frames inside boxes. One thread sends and one receives."""

    def __init__(self, carrier: Carrier, send_key: bytes, receive_key: bytes) -> None:
        self._carrier = carrier
        self._seal, self._open = ChaCha20Poly1305(send_key), ChaCha20Poly1305(receive_key)
        self._sent = self._received = 0

    def send(self, kind: int, payload: bytes) -> None:
        """Seal one frame. Raises PeerUnavailable, DeadlineExceeded."""
        room = padded_bytes(len(payload)) - _TAG_BYTES
        frame = _HEAD.pack(kind, len(payload)) + payload
        box = self._seal.encrypt(_nonce(self._sent), frame.ljust(room, b"\0"), None)
        self._sent += 1
        self._carrier.send(transport.SEALED, box)

    def receive(self, kind: int) -> bytearray:
        """Open the next box. Raises FrameInvalid for one that is not the next of this lane, untouched."""
        box = bytes(self._carrier.receive(transport.SEALED))
        try:
            frame = self._open.decrypt(_nonce(self._received), box, None)
        except InvalidTag:
            raise FrameInvalid("a sealed box does not open: altered, repeated, lost, or sealed for another") from None
        self._received += 1
        got, length = _HEAD.unpack_from(frame)
        if got != kind or length > len(frame) - _HEAD.size:
            raise FrameInvalid(f"a sealed frame of kind {got} where kind {kind} was due")
        return bytearray(frame[_HEAD.size : _HEAD.size + length])

    def send_control(self, message: dict[str, Any]) -> None:
        """Seal a JSON object."""
        self.send(transport.CONTROL, orjson.dumps(message))

    def receive_control(self) -> dict[str, Any]:
        """Open a JSON object. Raises FrameInvalid when it is none."""
        return transport.as_object(self.receive(transport.CONTROL))

    def set_deadline(self, timeout_s: float | None) -> None:
        """How long one box may take."""
        self._carrier.set_deadline(timeout_s)

    def close(self) -> None:
        """Close the carrier."""
        self._carrier.close()


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _public(key: X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def _keys(first: bytes, second: bytes, said: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    """(caller to party, party to caller)."""
    salt = hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in (LABEL, *said))).digest()
    out = HKDF(hashes.SHA256(), 64, salt, LABEL).derive(first + second)
    return out[:32], out[32:]


def _shared(own: X25519PrivateKey, theirs: bytes) -> bytes:
    try:
        return own.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError:
        raise FrameInvalid("the other side sent no usable key") from None


def call(carrier: Carrier, party: int, party_key: bytes, digest: str) -> SealedLane:
    """The caller's side. Raises FrameInvalid, PeerUnavailable, DeadlineExceeded."""
    own = X25519PrivateKey.generate()
    carrier.send(transport.SEALED, _public(own))
    theirs = bytes(carrier.receive(transport.SEALED))
    said = (digest.encode(), bytes([party]), party_key, _public(own), theirs)
    mine, its = _keys(_shared(own, party_key), _shared(own, theirs), said)
    return SealedLane(carrier, mine, its)


def answer(carrier: Carrier, party: int, secret: X25519PrivateKey, digest: str) -> SealedLane:
    """The party's side; the caller's first message is the next to receive. Raises the same."""
    theirs, own = bytes(carrier.receive(transport.SEALED)), X25519PrivateKey.generate()
    said = (digest.encode(), bytes([party]), _public(secret), theirs, _public(own))
    its, mine = _keys(_shared(secret, theirs), _shared(own, theirs), said)
    carrier.send(transport.SEALED, _public(own))
    return SealedLane(carrier, mine, its)


def create_key(directory: Path, role: str) -> str:
    """Write ROLE.seal.key unless it is there; answers the public key in hex, which callers need."""
    path = directory / f"{role}.seal.key"
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            key = X25519PrivateKey.generate()
            file.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return _public(read_key(directory, role)).hex()


def read_key(directory: Path, role: str) -> X25519PrivateKey:
    """A party's long-term key. Raises ConfigInvalid."""
    path = directory / f"{role}.seal.key"
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError) as error:
        raise ConfigInvalid(f"{path} cannot be used: create it with `llmos mpc init`") from error
    if not isinstance(key, X25519PrivateKey):
        raise ConfigInvalid(f"{path} is not an X25519 key: create it with `llmos mpc init`")
    return key
