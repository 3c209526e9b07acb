"""Where the key ring is kept: a file, a secret of the environment, or a file that a key outside this machine seals.

An `Envelope` is the interface to such a key: an HSM by PKCS#11 (gateway.serving.pkcs11_envelope), or a key service with Vault's transit
API (gateway.serving.transit_envelope). An adapter for another KMS has the same two methods. The ring is opened once, at start, and then
lives in memory: an envelope protects it at rest, not from who reads the running process.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gateway.pii.keyring import KeyRing, KeyRingError

SEALED = b"llmos-sealed-key-ring-1\n"


class Envelope(Protocol):
    """A key that never leaves its device. Both methods raise KeyRingError."""

    def seal(self, plain: bytes) -> bytes: ...

    def open(self, sealed: bytes) -> bytes: ...


class KeySource(Protocol):
    """Where a ring comes from, and, where it may change, goes back to. All methods raise KeyRingError."""

    def load(self) -> KeyRing: ...

    def load_or_create(self) -> KeyRing: ...

    def save(self, ring: KeyRing) -> None: ...


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file with mode 0600, in clear, or sealed by `envelope`."""

    path: Path
    envelope: Envelope | None = None

    def load(self) -> KeyRing:
        if self.envelope is None:
            return KeyRing.load(self.path)
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise KeyRingError(f"the key file {self.path} can't be read: {error.__class__.__name__}") from error
        if not content.startswith(SEALED):
            raise KeyRingError(f"{self.path} is not sealed; `llmos keyring seal` seals it under the configured key")
        return KeyRing.parse(self.envelope.open(content.removeprefix(SEALED)).decode("ascii"), str(self.path))

    def load_or_create(self) -> KeyRing:
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.save(KeyRing.generate())
        return self.load()

    def save(self, ring: KeyRing) -> None:
        if self.envelope is None:
            ring.save(self.path)
            return
        partial = self.path.with_name(self.path.name + ".new")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(SEALED + self.envelope.seal(ring.text().encode("ascii")))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)


@dataclass(frozen=True, slots=True)
class TextSource:
    """The ring's lines as a secret of the environment. It can't be written back: the orchestrator's secret has to be changed."""

    text: str = field(repr=False)

    def load(self) -> KeyRing:
        return KeyRing.parse(self.text, "LLMOS_MASTER_KEY")

    def load_or_create(self) -> KeyRing:
        return self.load()

    def save(self, ring: KeyRing) -> None:
        raise KeyRingError("the key ring comes from LLMOS_MASTER_KEY; change the secret there (`llmos keyring --help` says how)")
