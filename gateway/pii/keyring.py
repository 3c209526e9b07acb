"""The key ring wraps short secrets under rotating master keys.

It stands under the vault: each conversation has its own random key, which is stored only wrapped by the ring. Every
wrapped value carries the id of the master key that wrapped it, so that several keys serve at once: new conversations
use the current key, old ones stay readable until their key is retired from the file, which erases them for good
(crypto-shredding: NIST SP 800-88r1, section 2.6).

File format, one key a line: `<id> <base64 of 32 bytes>`. The line `index` is the root of keyed hashes (store keys,
the `hash` action) and does not rotate: it hides identities in the store but decrypts nothing. The last other line is the
current key. It does NOT protect against who reads the process's memory or this file.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

_KEY_BYTES = 32
_NONCE_BYTES = 12
_VERSION = 1
_ID = re.compile(r"[a-z0-9-]{1,32}")


class KeyRingError(Exception):
    """A key file that can't be used, or a wrapped value that no key of the ring opens."""


class KeyRing:
    """Master keys by id, one of them current. Wrapping is AES-256-GCM-SIV (RFC 8452) with a random nonce.

    `index_root` and each key are 32 bytes. Raises KeyRingError on other lengths or an unknown current id.
    """

    def __init__(self, keys: Mapping[str, bytes], current: str, index_root: bytes) -> None:
        if current not in keys:
            raise KeyRingError(f"the current key id {current!r} is not in the ring")
        for key_id, key in keys.items():
            if not _ID.fullmatch(key_id) or key_id == "index":
                raise KeyRingError(f"the key id {key_id!r} is not of the form [a-z0-9-]{{1,32}}, or is 'index'")
            if len(key) != _KEY_BYTES:
                raise KeyRingError(f"the key {key_id!r} has {len(key)} bytes; it must have {_KEY_BYTES}")
        if len(index_root) != _KEY_BYTES:
            raise KeyRingError(f"the index root has {len(index_root)} bytes; it must have {_KEY_BYTES}")
        self._keys = dict(keys)
        self._current = current
        self._index_root = index_root

    def __repr__(self) -> str:
        return f"KeyRing(ids={sorted(self._keys)}, current={self._current!r})"

    @classmethod
    def generate(cls) -> KeyRing:
        """A ring of one fresh key."""
        return cls({"k1": secrets.token_bytes(_KEY_BYTES)}, "k1", secrets.token_bytes(_KEY_BYTES))

    @classmethod
    def load(cls, path: Path) -> KeyRing:
        """Read a key file. Raises KeyRingError where it is missing, malformed, or readable by others."""
        try:
            found = path.stat()
            lines = path.read_text("ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise KeyRingError(f"the key file {path} can't be read: {error.__class__.__name__}") from error
        mounted = found.st_uid != os.getuid()  # an orchestrator mounts a secret as root's, readable by the process's group
        if found.st_mode & ((stat.S_IWGRP | stat.S_IXGRP if mounted else stat.S_IRWXG) | stat.S_IRWXO):
            raise KeyRingError(f"the key file {path} is open to other users; run: chmod 600 {path}")
        return cls.parse("\n".join(lines), str(path))

    @classmethod
    def parse(cls, text: str, origin: str) -> KeyRing:
        """A ring from its lines; `origin` is named in errors, their content never. Raises KeyRingError."""
        keys: dict[str, bytes] = {}
        for number, line in enumerate(text.replace(";", "\n").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            try:
                key_id, encoded = line.split()
                keys[key_id] = base64.b64decode(encoded, validate=True)
            except ValueError:
                raise KeyRingError(f"line {number} of {origin} is not `<id> <base64>`") from None
        index_root = keys.pop("index", None)
        if index_root is None or not keys:
            raise KeyRingError(f"the key ring of {origin} needs a line `index` and at least one key")
        return cls(keys, list(keys)[-1], index_root)

    def text(self) -> str:
        """The lines that `parse` reads: the keys themselves."""
        order = [key_id for key_id in self._keys if key_id != self._current] + [self._current]
        lines = [f"index {base64.b64encode(self._index_root).decode()}"]
        lines += [f"{key_id} {base64.b64encode(self._keys[key_id]).decode()}" for key_id in order]
        return "\n".join(lines) + "\n"

    def save(self, path: Path) -> None:
        """Write the ring with mode 0600, atomically."""
        partial = path.with_name(path.name + ".new")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self.text())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    @classmethod
    def load_or_create(cls, path: Path) -> KeyRing:
        """The ring of this file; a fresh one is written where there is no file."""
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            cls.generate().save(path)
        return cls.load(path)

    def staged(self) -> KeyRing:
        """A ring with one more key, the last of `ids`, under which nothing is written yet."""
        number = 1 + max((int(m[1]) for m in map(re.compile(r"k(\d+)").fullmatch, self._keys) if m), default=0)
        return KeyRing({**self._keys, f"k{number}": secrets.token_bytes(_KEY_BYTES)}, self._current, self._index_root)

    def activated(self, key_id: str) -> KeyRing:
        """A ring whose current key is this one of its own. Raises KeyRingError for an unknown one."""
        return KeyRing(self._keys, key_id, self._index_root)

    def retired(self, key_id: str) -> KeyRing:
        """A ring without this key: whatever it wrapped is unreadable from now on. Raises KeyRingError for the current one."""
        if key_id == self._current or key_id not in self._keys:
            raise KeyRingError(f"the key {key_id!r} is current or unknown; rotate first")
        return KeyRing({k: v for k, v in self._keys.items() if k != key_id}, self._current, self._index_root)

    @property
    def ids(self) -> list[str]:
        """Every key's id."""
        return list(self._keys)

    @property
    def fingerprints(self) -> dict[str, str]:
        """For each id 16 hexadecimal digits that tell two keys apart and say nothing else of them (HMAC-SHA-256 as a PRF)."""
        return {key_id: self._subkey(key_id, "fingerprint").hex()[:16] for key_id in self._keys}

    @property
    def current_id(self) -> str:
        return self._current

    def index_key(self, purpose: str) -> bytes:
        """A 32-byte subkey of the index root for one purpose (HMAC-SHA-256 as a PRF)."""
        return hmac.digest(self._index_root, b"llmos/index/" + purpose.encode(), hashlib.sha256)

    def wrap(self, plaintext: bytes, associated: bytes, *, purpose: str, nonce: bytes | None = None) -> bytes:
        """Header (version, key id), nonce and ciphertext. A caller's 12-byte `nonce` makes it deterministic:
        under GCM-SIV that shows equality of equal plaintexts, and nothing else."""
        nonce = secrets.token_bytes(_NONCE_BYTES) if nonce is None else nonce
        header = bytes([_VERSION, len(self._current)]) + self._current.encode()
        cipher = AESGCMSIV(self._subkey(self._current, purpose))
        return header + nonce + cipher.encrypt(nonce, plaintext, header + associated)

    def unwrap(self, wrapped: bytes, associated: bytes, *, purpose: str) -> bytes:
        """The plaintext. Raises KeyRingError on another version, an unknown key, or a tag that does not verify."""
        key_id = self.key_id_of(wrapped)
        header_end = 2 + len(key_id)
        nonce, sealed = wrapped[header_end : header_end + _NONCE_BYTES], wrapped[header_end + _NONCE_BYTES :]
        if key_id not in self._keys:
            raise KeyRingError(f"a value was wrapped under the key {key_id!r}, which is not in the ring")
        try:
            return AESGCMSIV(self._subkey(key_id, purpose)).decrypt(nonce, sealed, wrapped[:header_end] + associated)
        except (InvalidTag, ValueError) as error:
            raise KeyRingError("a wrapped value does not verify: another tenant, key or conversation, or it was altered") from error

    @staticmethod
    def key_id_of(wrapped: bytes) -> str:
        """The id in the header. Raises KeyRingError where there is no such header."""
        if len(wrapped) < 2 or wrapped[0] != _VERSION or len(wrapped) < 2 + wrapped[1] + _NONCE_BYTES:
            raise KeyRingError("a wrapped value has no header of this version")
        try:
            return wrapped[2 : 2 + wrapped[1]].decode("ascii")
        except UnicodeDecodeError as error:
            raise KeyRingError("a wrapped value has no header of this version") from error

    def _subkey(self, key_id: str, purpose: str) -> bytes:
        return hmac.digest(self._keys[key_id], b"llmos/master/" + purpose.encode(), hashlib.sha256)
