"""Versions are immutable, signed and chained; whatever was altered or half written is not loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from federated_trainer.errors import NotTrusted, RegistryError, RoundLocked
from federated_trainer.publish import Registry
from federated_trainer.roster import make_identity, read_private_key

BASE = "b" * 64
FACTS: dict[str, Any] = {
    "name": "t", "round_number": 1, "clients": 3, "privacy": {"unit": "none"}, "measures": {}, "published_at": "2026-01-01T00:00:00+00:00"
}  # fmt: skip


@pytest.fixture
def keys(tmp_path: Path) -> tuple[bytes, bytes]:
    public = make_identity(tmp_path / "signing.key")
    return read_private_key(tmp_path / "signing.key"), public


def write(text: str) -> Any:
    return lambda folder: (folder / "adapter_model.safetensors").write_text(text)


def publish(registry: Registry, keys: tuple[bytes, bytes], text: str = "weights") -> int:
    return registry.publish(write(text), keys[0], BASE, "l", FACTS).version


@pytest.mark.parametrize("url", ["file://{}/registry", "memory://{}"])
def test_versions_follow_one_another_on_any_store(url: str, tmp_path: Path, keys: tuple[bytes, bytes]) -> None:
    registry = Registry(url.format(tmp_path), keys[1])
    assert registry.versions() == ()
    assert [publish(registry, keys, f"w{n}") for n in range(3)] == [0, 1, 2]
    assert [m.version for m in registry.verify_chain()] == [0, 1, 2]
    fetched = registry.fetch(1, BASE, tmp_path / "local")
    assert (fetched / "adapter_model.safetensors").read_text() == "w1"


@pytest.mark.parametrize("target", ["adapter_model.safetensors", "manifest.json", "manifest.sig"])
def test_any_altered_byte_is_refused(target: str, tmp_path: Path, keys: tuple[bytes, bytes]) -> None:
    registry = Registry(f"file://{tmp_path}/registry", keys[1])
    publish(registry, keys)
    path = tmp_path / "registry" / "versions" / "r0000" / target
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(NotTrusted):
        registry.fetch(0, BASE, tmp_path / "local")
    assert not list((tmp_path / "local").glob("r0000*"))


def test_other_signer_other_base_and_broken_chain(tmp_path: Path, keys: tuple[bytes, bytes]) -> None:
    registry = Registry(f"file://{tmp_path}/registry", keys[1])
    for n in range(3):
        publish(registry, keys, f"w{n}")
    with pytest.raises(NotTrusted, match="another base"):
        registry.fetch(0, "c" * 64, tmp_path / "local")
    stranger = make_identity(tmp_path / "other.key")
    with pytest.raises(NotTrusted, match="not signed"):
        Registry(f"file://{tmp_path}/registry", stranger).manifest(0)
    (tmp_path / "registry" / "versions" / "r0001" / "manifest.json").unlink()
    with pytest.raises(NotTrusted, match="chain"):
        registry.verify_chain()


def test_half_written_version_does_not_exist_and_its_number_is_used_again(tmp_path: Path, keys: tuple[bytes, bytes]) -> None:
    registry = Registry(f"file://{tmp_path}/registry", keys[1])
    publish(registry, keys)
    half = tmp_path / "registry" / "versions" / "r0001"
    half.mkdir()
    (half / "adapter_model.safetensors").write_text("killed in the middle")
    assert registry.versions() == (0,)
    assert publish(registry, keys, "whole") == 1
    assert (registry.fetch(1, BASE, tmp_path / "l") / "adapter_model.safetensors").read_text() == "whole"


def test_full_disk_publishes_nothing(tmp_path: Path, keys: tuple[bytes, bytes]) -> None:
    """A file system of 64 KiB, if this machine may mount one; else a folder that may not be written."""
    small = tmp_path / "registry"
    small.mkdir()
    import subprocess

    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True).returncode == 0
    if not mounted:
        pytest.skip("needs the right to mount a small file system")
    try:
        registry = Registry(f"file://{small}", keys[1])
        publish(registry, keys, "small")
        with pytest.raises(RegistryError, match="nothing was published"):
            publish(registry, keys, "x" * 200_000)
        assert registry.versions() == (0,)
        assert publish(registry, keys, "fits again") == 1
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_round_that_lost_its_lock_publishes_nothing(tmp_path: Path, keys: tuple[bytes, bytes]) -> None:
    registry = Registry(f"file://{tmp_path}/registry", keys[1])
    registry.publish(write("later"), keys[0], BASE, "l", FACTS | {"fencing_token": 7})
    with pytest.raises(RoundLocked, match="out of date"):
        registry.publish(write("slept"), keys[0], BASE, "l", FACTS | {"fencing_token": 6})
    assert registry.versions() == (0,)


def test_manifest_that_names_a_file_outside_is_refused(tmp_path: Path, keys: tuple[bytes, bytes]) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    registry = Registry(f"file://{tmp_path}/registry", keys[1])
    publish(registry, keys)
    folder = tmp_path / "registry" / "versions" / "r0000"
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {"../../escape": "0" * 64}
    raw = json.dumps(manifest).encode()
    (folder / "manifest.json").write_bytes(raw)
    (folder / "manifest.sig").write_bytes(Ed25519PrivateKey.from_private_bytes(keys[0]).sign(raw))
    with pytest.raises(NotTrusted, match="outside"):
        registry.fetch(0, BASE, tmp_path / "local")
