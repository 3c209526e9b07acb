"""The key ring: files, rotation, what fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.pii.keyring import KeyRing, KeyRingError
from gateway.pii.operators import keyed_hash, seal, unseal


def test_a_file_is_created_once_private_and_read_again(tmp_path: Path):
    path = tmp_path / "keys" / "master"
    ring = KeyRing.load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    wrapped = ring.wrap(b"secret", b"scope", purpose="p")
    assert KeyRing.load_or_create(path).unwrap(wrapped, b"scope", purpose="p") == b"secret"
    assert "secret" not in repr(ring)


def test_a_rotated_ring_survives_its_file_and_opens_old_values(tmp_path: Path):
    ring = KeyRing.generate()
    old = ring.wrap(b"secret", b"scope", purpose="p")
    ring.staged().activated("k2").save(tmp_path / "k")
    rotated = KeyRing.load(tmp_path / "k")
    assert rotated.current_id == "k2"
    assert rotated.unwrap(old, b"scope", purpose="p") == b"secret"
    assert KeyRing.key_id_of(rotated.wrap(b"x", b"", purpose="p")) == "k2"
    with pytest.raises(KeyRingError, match="not in the ring"):
        rotated.retired("k1").unwrap(old, b"scope", purpose="p")
    with pytest.raises(KeyRingError, match="current"):
        rotated.retired("k2")


@pytest.mark.parametrize("change", ["associated", "purpose", "byte", "short"])
def test_a_changed_value_does_not_open(change):
    ring = KeyRing.generate()
    wrapped = ring.wrap(b"secret", b"scope", purpose="p")
    if change == "byte":
        wrapped = wrapped[:-1] + bytes([wrapped[-1] ^ 1])
    elif change == "short":
        wrapped = wrapped[:5]
    with pytest.raises(KeyRingError):
        ring.unwrap(wrapped, b"other" if change == "associated" else b"scope", purpose="q" if change == "purpose" else "p")


@pytest.mark.parametrize("content", ["", "index AAAA\n", "k1 not-base64!\n", "one two three\n"])
def test_a_malformed_file_is_refused(tmp_path: Path, content: str):
    path = tmp_path / "k"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeyRingError):
        KeyRing.load(path)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path):
    path = tmp_path / "k"
    KeyRing.generate().save(path)
    path.chmod(0o644)
    with pytest.raises(KeyRingError, match="chmod 600"):
        KeyRing.load(path)


def test_encryption_in_place_is_the_tenants():
    ring = KeyRing.generate()
    token = seal("Sarah Connor", "PERSON", ring, "tenant", b"n" * 32)
    assert token == seal("Sarah Connor", "PERSON", ring, "tenant", b"n" * 32), "one value, one token in a conversation"
    assert token != seal("Sarah Connor", "PERSON", ring, "tenant", b"m" * 32)
    assert unseal(token, ring.staged().activated("k2"), "tenant") == "Sarah Connor"
    with pytest.raises(KeyRingError):
        unseal(token, ring, "other")
    with pytest.raises(KeyRingError):
        unseal("<PERSON:zz>", ring, "tenant")


def test_hashes_are_linkable_within_a_tenant_only():
    ring = KeyRing.generate()
    assert keyed_hash("Sarah  CONNOR", "PERSON", ring, "t") == keyed_hash("sarah connor", "PERSON", ring.staged().activated("k2"), "t")
    assert keyed_hash("sarah connor", "PERSON", ring, "t") != keyed_hash("sarah connor", "PERSON", ring, "u")
