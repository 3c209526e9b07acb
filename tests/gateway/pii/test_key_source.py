"""Where a ring is kept: text, a file, a file sealed in a real PKCS#11 token (SoftHSM)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gateway.pii.key_source import FileSource, TextSource
from gateway.pii.keyring import KeyRing, KeyRingError
from gateway.serving.keys import key_source
from gateway.serving.pkcs11_envelope import Pkcs11Envelope
from gateway.settings import Settings

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")


def opens(ring: KeyRing, other: KeyRing) -> bool:
    return other.unwrap(ring.wrap(b"secret", b"scope", purpose="p"), b"scope", purpose="p") == b"secret"


def test_a_ring_of_the_environment_is_read_and_never_shown_or_written(tmp_path: Path):
    ring = KeyRing.generate().staged().activated("k2")
    settings = Settings.read({"LLMOS_MASTER_KEY": ring.text().replace("\n", ";"), "LLMOS_ENV": "production"})
    source = key_source(settings)
    assert isinstance(source, TextSource)
    assert opens(ring, source.load_or_create())
    secret = ring.text().split()[1]
    assert secret not in repr(settings) + repr(source)
    with pytest.raises(KeyRingError, match="LLMOS_MASTER_KEY"):
        source.save(ring)
    with pytest.raises(KeyRingError, match="line 1") as malformed:
        TextSource("index one two;").load()
    assert "one" not in str(malformed.value)


def test_a_staged_key_opens_but_does_not_wrap_until_it_is_activated():
    ring = KeyRing.generate()
    staged = ring.staged()
    assert (staged.ids, staged.current_id) == (["k1", "k2"], "k1")
    ahead = staged.activated("k2")
    assert opens(ahead, staged), "a replica that has the key staged reads what another one wrote under it"
    assert KeyRing.parse(staged.text(), "x").current_id == "k1"
    with pytest.raises(KeyRingError):
        staged.activated("k9")


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pkcs11Envelope:
    if not SOFTHSM.exists():
        pytest.skip("SoftHSM is not on this machine (Debian: softhsm2)")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm.conf"))
    argv = ["softhsm2-util", "--init-token", "--free", "--label", tmp_path.name, "--so-pin", "11111111", "--pin", "2468"]
    subprocess.run(argv, check=True, capture_output=True, timeout=30)
    return Pkcs11Envelope(SOFTHSM, tmp_path.name, "llmos-key-ring", "2468")


def test_a_ring_sealed_by_an_hsm_survives_and_a_changed_file_or_wrong_pin_does_not_open(tmp_path: Path, token: Pkcs11Envelope):
    token.create_key()
    with pytest.raises(KeyRingError, match="already"):
        token.create_key()
    source = FileSource(tmp_path / "keys" / "ring", token)
    ring = source.load_or_create()
    content = source.path.read_bytes()
    assert source.path.stat().st_mode & 0o777 == 0o600
    assert ring.text().encode() not in content
    assert opens(ring, source.load())
    rotated = ring.staged().activated("k2")
    source.save(rotated)
    assert source.load().current_id == "k2"
    with pytest.raises(KeyRingError, match=r"can't be read|is not|needs a line"):
        KeyRing.load(source.path)
    sealed = source.path.read_bytes()
    source.path.write_bytes(sealed[:-40] + bytes([sealed[-40] ^ 1]) + sealed[-39:])
    with pytest.raises(KeyRingError):
        source.load()
    source.path.write_bytes(sealed)
    wrong = Pkcs11Envelope(token.module, token.token, token.key, "1357")
    with pytest.raises(KeyRingError, match="the HSM refused") as refused:
        FileSource(source.path, wrong).load()
    assert "1357" not in str(refused.value)
    assert "2468" not in repr(token)
    KeyRing.generate().save(tmp_path / "clear")
    with pytest.raises(KeyRingError, match="not sealed"):
        FileSource(tmp_path / "clear", token).load()
