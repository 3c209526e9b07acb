"""The registry of versions: immutable, signed, chained; on a disk or any fsspec store.

    versions/r0007/adapter_model.safetensors, adapter_config.json, …   written first
    versions/r0007/manifest.sig                                        an Ed25519 signature over manifest.json
    versions/r0007/manifest.json                                       written last: with it the version exists

The manifest names the base model's digest, the round, how many clients are in it, the privacy spent, the gate's results,
the digest of every file, and the digest of the manifest before. A half-written version has no manifest and is swept away.
Not covered: a thief of the signing key; and a store that hides its newest versions (the chain shows gaps, not ends).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import fsspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, ValidationError

from federated_trainer.errors import AlreadyPublished, NotTrusted, RegistryError, RoundLocked

_FORMAT = 1
_MANIFEST, _SIGNATURE = "manifest.json", "manifest.sig"


class Manifest(BaseModel):
    """What a version is. `previous` is the SHA-256 of the manifest before, "" for the first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = _FORMAT
    version: int
    name: str
    base_digest: str
    layout_digest: str
    previous: str
    round_number: int
    clients: int
    privacy: dict[str, float | str]
    measures: dict[str, float]
    files: dict[str, str]
    fencing_token: int = 0
    published_at: str

    def encoded(self) -> bytes:
        """The one byte string that is hashed and signed."""
        return (json.dumps(self.model_dump(), sort_keys=True, indent=1) + "\n").encode()


class Registry:
    """A registry at an fsspec URL. `trusted_key` is the 32-byte public key whose signatures count."""

    def __init__(self, url: str, trusted_key: bytes) -> None:
        self._fs, root = fsspec.core.url_to_fs(url)
        self._root = str(root).rstrip("/") + "/versions"
        self._trusted = Ed25519PublicKey.from_public_bytes(trusted_key)

    def versions(self) -> tuple[int, ...]:
        """Numbers of all complete versions, ascending. Raises RegistryError."""
        try:
            self._fs.invalidate_cache()
            folders = self._fs.ls(self._root, detail=False) if self._fs.exists(self._root) else []
            numbers = [_number(folder) for folder in folders]
            return tuple(sorted(n for n in numbers if n is not None and self._fs.exists(self._path(n, _MANIFEST))))
        except OSError as error:
            raise RegistryError("The registry can't be read; the served model stays.") from error

    def manifest(self, version: int) -> Manifest:
        """Raises NotTrusted where the signature or the form is wrong, RegistryError where there is no such version."""
        try:
            raw, signature = self._fs.cat_file(self._path(version, _MANIFEST)), self._fs.cat_file(self._path(version, _SIGNATURE))
        except OSError as error:
            raise RegistryError(f"Version {version} is not in the registry.") from error
        try:
            self._trusted.verify(signature, raw)
            manifest = Manifest.model_validate_json(raw)
        except (InvalidSignature, ValidationError) as error:
            raise NotTrusted(f"Version {version} is not signed by the trusted key, or was altered; it is not loaded.") from error
        if manifest.version != version or manifest.format != _FORMAT:
            raise NotTrusted(f"The manifest of version {version} is for another version or format.")
        return manifest

    def verify_chain(self) -> tuple[Manifest, ...]:
        """All manifests; each must name the one before. Raises NotTrusted at a gap or an altered link."""
        manifests = tuple(self.manifest(version) for version in self.versions())
        before = ""
        for manifest in manifests:
            if manifest.previous != before:
                raise NotTrusted(f"Version {manifest.version} does not follow the version before it: the chain is broken.")
            before = hashlib.sha256(manifest.encoded()).hexdigest()
        return manifests

    def publish(
        self, write_files: Callable[[Path], None], private_key: bytes, base_digest: str, layout_digest: str, facts: Mapping[str, Any]
    ) -> Manifest:
        """Publish the next version from the files that `write_files` puts into an empty folder.

        `facts`: name, round_number, clients, privacy, measures, published_at, fencing_token (0: no lock). Raises RoundLocked
        (a version with a later token is there), AlreadyPublished (two at once), RegistryError (the store is full or can't be
        written): nothing of it is then visible.
        """
        chain = self.verify_chain()
        if chain and chain[-1].fencing_token > int(facts.get("fencing_token", 0)) > 0:
            raise RoundLocked("A later holder of the round's lock has published already; this round is out of date and is thrown away.")
        version = chain[-1].version + 1 if chain else 0
        previous = hashlib.sha256(chain[-1].encoded()).hexdigest() if chain else ""
        if self._fs.exists(self._path(version, _MANIFEST)):
            raise AlreadyPublished(f"Version {version} exists already; versions are never written again.")
        with tempfile.TemporaryDirectory(prefix="llmos-publish-") as scratch:
            folder = Path(scratch)
            write_files(folder)
            files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        manifest = Manifest(
            version=version, base_digest=base_digest, layout_digest=layout_digest, previous=previous, files=digests, **facts
        )
        signature = Ed25519PrivateKey.from_private_bytes(private_key).sign(manifest.encoded())
        try:
            self._fs.makedirs(f"{self._root}/{_folder(version)}", exist_ok=True)
            for name, content in files.items():
                self._write(self._path(version, name), content)
            self._write(self._path(version, _SIGNATURE), signature)
            self._write(self._path(version, _MANIFEST), manifest.encoded())
        except OSError as error:
            self._sweep(version)
            raise RegistryError("The version could not be written (is the store full?); nothing was published.") from error
        return manifest

    def fetch(self, version: int, base_digest: str, folder: Path) -> Path:
        """A verified local copy under folder/rNNNN-DIGEST, for the model server to load: other weights never have the same path.

        Raises NotTrusted (unsigned, altered, for another base model), RegistryError.
        """
        manifest = self.manifest(version)
        if manifest.base_digest != base_digest:
            raise NotTrusted(f"Version {version} belongs to another base model; it is not loaded.")
        target = folder / f"{_folder(version)}-{hashlib.sha256(manifest.encoded()).hexdigest()[:12]}"
        partial = folder / f".{target.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, digest in manifest.files.items():
            if "/" in name or name.startswith("."):
                raise NotTrusted(f"Version {version} names a file outside its folder.")
            try:
                content = self._fs.cat_file(self._path(version, name))
            except OSError as error:
                raise RegistryError(f"A file of version {version} is missing.") from error
            if hashlib.sha256(content).hexdigest() != digest:
                raise NotTrusted(f"A file of version {version} was altered; it is not loaded.")
            (partial / name).write_bytes(content)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        return target

    def _write(self, path: str, content: bytes) -> None:
        """Whole or not at all, where the store can rename."""
        with self._fs.transaction, self._fs.open(path, "wb") as file:
            file.write(content)

    def _sweep(self, version: int) -> None:
        """Take away what was half written, so that the disk is free again; the manifest was never there."""
        folder = f"{self._root}/{_folder(version)}"
        if self._fs.exists(folder) and not self._fs.exists(self._path(version, _MANIFEST)):
            self._fs.rm(folder, recursive=True)

    def _path(self, version: int, name: str) -> str:
        return f"{self._root}/{_folder(version)}/{name}"


def _folder(version: int) -> str:
    return f"r{version:04d}"


def _number(folder: str) -> int | None:
    name = folder.rstrip("/").rsplit("/", 1)[-1]
    return int(name[1:]) if name.startswith("r") and name[1:].isdigit() else None
