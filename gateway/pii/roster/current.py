"""Each replica's copy of the rosters: the newest version of a tenant's, verified, in a file that the detector's processes map.

Before a request is detected, its tenant's version is asked for, at most once a second. A new one is fetched whole, its seal checked, and
written beside the old one; the file holds keyed hashes only. A store that can't be reached or a seal that does not verify is a
StoreUnavailable: a tenant that has a roster is never served without it. The seal (HMAC-SHA-256 under a key of the ring, over tenant,
version and bytes) keeps whoever can write to the store from taking people out. It does NOT keep them from putting an older version back,
or from deleting the whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gateway.errors import StoreUnavailable
from gateway.pii.conversation import framed
from gateway.pii.keyring import KeyRing
from gateway.pii.roster.index import chunks

CHUNK_BYTES = 4 << 20
MAX_AGE_S = 1.0
_KEPT_FILES = 2  # a detector process may still be about to open the one before


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store keeps beside the bytes: the version (random), the seal, and figures for people to read."""

    version: str
    seal: bytes = field(repr=False)
    size_bytes: int
    people: int
    loaded_unix_s: float


class RosterStore(Protocol):
    """The roster's side of the store. Every method raises StoreUnavailable where the store can't be reached."""

    async def stored(self, entry: str) -> Stored | None: ...

    async def read(self, entry: str, version: str) -> list[bytes]:
        """The pieces of one version, in order; fewer where it has been replaced since."""
        ...

    async def replace(self, entry: str, stored: Stored, pieces: Sequence[bytes]) -> None:
        """Write the pieces, then make the version the one that serves, at once."""
        ...

    async def delete(self, entry: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class RosterFile:
    """One version of a tenant's roster on this machine, and the key of its hashes."""

    path: Path
    version: str
    key: bytes = field(repr=False)


class Rosters:
    """The rosters of all tenants. `directory` is this machine's; it is made with mode 0700."""

    def __init__(self, store: RosterStore, ring: KeyRing, directory: Path, *, max_age_s: float = MAX_AGE_S) -> None:
        self._store = store
        self._max_age_s = max_age_s
        self._entry_key, self._term_key, self._seal_key = (ring.index_key(f"roster-{purpose}") for purpose in ("entry", "terms", "seal"))
        self._directory = directory
        self._known: dict[str, tuple[float, RosterFile | None]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def term_key(self, tenant: str) -> bytes:
        """The key of a tenant's hashes: the same person has other hashes at another tenant."""
        return hmac.digest(self._term_key, tenant.encode("utf-8"), "sha256")

    async def current(self, tenant: str) -> RosterFile | None:
        """The version that serves, at most a second old; None for a tenant without a roster. Raises StoreUnavailable."""
        known = self._known.get(tenant)
        if known is not None and time.monotonic() - known[0] < self._max_age_s:
            return known[1]
        async with self._locks.setdefault(tenant, asyncio.Lock()):
            known = self._known.get(tenant)
            if known is None or time.monotonic() - known[0] >= self._max_age_s:
                began = time.monotonic()
                known = (began, await self._refreshed(tenant, known[1] if known else None))
                self._known[tenant] = known
        return known[1]

    async def status(self, tenant: str) -> Stored | None:
        """What is stored for a tenant. Raises StoreUnavailable."""
        return await self._store.stored(self._entry(tenant))

    async def bytes_of(self, tenant: str) -> bytes | None:
        """The index that serves, verified. Raises StoreUnavailable."""
        stored = await self.status(tenant)
        return None if stored is None else await self._fetch(tenant, stored)

    async def put(self, tenant: str, index: bytes, *, people: int) -> Stored:
        """Put an index in force on every replica within a second. Raises StoreUnavailable."""
        version = secrets.token_hex(16)
        stored = Stored(version, self._seal(tenant, version, index), len(index), people, time.time())
        await self._store.replace(self._entry(tenant), stored, list(chunks(index, CHUNK_BYTES)))
        return stored

    async def clear(self, tenant: str) -> bool:
        """Take a tenant's roster away; whether there was one. Raises StoreUnavailable."""
        self._known.pop(tenant, None)
        return await self._store.delete(self._entry(tenant))

    async def _refreshed(self, tenant: str, known: RosterFile | None) -> RosterFile | None:
        stored = await self.status(tenant)
        if stored is None:
            return None
        if known is not None and known.version == stored.version:
            return known
        index = await self._fetch(tenant, stored)
        path = self._directory / f"{self._entry(tenant)}-{stored.version}.roster"
        try:
            await asyncio.to_thread(self._write, path, index)
        except OSError as error:
            raise StoreUnavailable(f"The roster can't be written to the data directory ({error.strerror}); nothing was sent.") from None
        return RosterFile(path, stored.version, self.term_key(tenant))

    async def _fetch(self, tenant: str, stored: Stored) -> bytes:
        index = b"".join(await self._store.read(self._entry(tenant), stored.version))
        seal = await asyncio.to_thread(self._seal, tenant, stored.version, index)
        if not hmac.compare_digest(seal, stored.seal):
            raise StoreUnavailable(
                "The roster does not verify: it was replaced just now, altered, or sealed under another key. Try again; "
                "if it stays so, load it again with `llmos roster load`.",
                retry_after_s=1.0,
            )
        return index

    def _write(self, path: Path, index: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.new")
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(index)
        partial.replace(path)
        written: list[tuple[int, Path]] = []
        for version in self._directory.glob(f"{path.name.partition('-')[0]}-*.roster"):
            with contextlib.suppress(FileNotFoundError):  # another process of this gateway may be tidying up too
                written.append((version.stat().st_mtime_ns, version))
        for _, old in sorted(written)[:-_KEPT_FILES]:
            old.unlink(missing_ok=True)

    def _entry(self, tenant: str) -> str:
        return hmac.digest(self._entry_key, tenant.encode("utf-8"), "sha256").hex()[:32]

    def _seal(self, tenant: str, version: str, index: bytes) -> bytes:
        return hmac.digest(self._seal_key, framed(tenant.encode("utf-8"), version.encode()) + hashlib.sha256(index).digest(), "sha256")
