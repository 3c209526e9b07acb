"""The key service's envelope against a real HTTPS server that keeps a key as Vault's transit engine does."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.pii.key_source import SEALED, FileSource
from gateway.pii.keyring import KeyRing, KeyRingError
from gateway.serving.keys import key_source
from gateway.serving.transit_envelope import TransitEnvelope
from gateway.settings import Settings, SettingsError
from tests.faults.certificates import Authority

TOKEN = "hvs.not-a-real-token"
NONCE = bytes(12)  # of a key that seals once a test


class Service(BaseHTTPRequestHandler):
    """encrypt, decrypt and keys of one mount."""

    keys: dict[str, AESGCM]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        what, name = self.path.removeprefix("/v1/transit/").split("/")
        if self.headers.get("x-vault-token") != TOKEN:
            self._answer(403, {"errors": ["permission denied"]})
        elif what == "keys":
            self.keys.setdefault(name, AESGCM(AESGCM.generate_key(256)))
            self._answer(204, None)
        elif name not in self.keys:
            self._answer(400, {"errors": ["encryption key not found"]})
        elif what == "encrypt":
            sealed = self.keys[name].encrypt(NONCE, base64.b64decode(body["plaintext"]), None)
            self._answer(200, {"data": {"ciphertext": "vault:v1:" + base64.b64encode(sealed).decode()}})
        else:
            try:
                plain = self.keys[name].decrypt(NONCE, base64.b64decode(body["ciphertext"].removeprefix("vault:v1:")), None)
            except (InvalidTag, ValueError):
                self._answer(400, {"errors": ["invalid ciphertext"]})
            else:
                self._answer(200, {"data": {"plaintext": base64.b64encode(plain).decode()}})

    def _answer(self, status: int, body: object) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def url(authority: Authority) -> Iterator[str]:
    pair = authority.pair("service")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Kept", (Service,), {"keys": {}}))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}/v1/transit"
    server.shutdown()
    server.server_close()


def test_a_ring_sealed_by_the_service_survives_and_a_changed_file_does_not_open(url: str, authority: Authority, tmp_path: Path) -> None:
    envelope = TransitEnvelope(url, "ring", TOKEN, authority.file)
    with pytest.raises(KeyRingError, match="status 400"):
        envelope.seal(b"there is no key yet")
    envelope.create_key()
    envelope.create_key()
    source = FileSource(tmp_path / "ring", envelope)
    ring = source.load_or_create()
    content = source.path.read_bytes()
    assert content.startswith(SEALED + b"vault:v1:")
    assert ring.text().encode() not in content
    assert source.load().text() == ring.text()
    at = len(content) // 2
    source.path.write_bytes(content[:at] + (b"A" if content[at : at + 1] != b"A" else b"B") + content[at + 1 :])
    with pytest.raises(KeyRingError):
        source.load()
    source.path.write_bytes(SEALED + b"\xff\xfe")
    with pytest.raises(KeyRingError, match="not a ciphertext"):
        source.load()


def test_no_failure_shows_the_token(url: str, authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger")
    for envelope in (
        TransitEnvelope(url, "ring", "hvs.a-wrong-token", authority.file),
        TransitEnvelope(url, "ring", TOKEN, stranger.file),
        TransitEnvelope("https://127.0.0.1:1/v1/transit", "ring", TOKEN, authority.file),
    ):
        with pytest.raises(KeyRingError) as failed:
            envelope.seal(b"x")
        assert "hvs." not in str(failed.value) + repr(envelope)


def test_settings_choose_it_and_refuse_half_of_one(url: str, authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    chosen = {"LLMOS_TRANSIT_URL": url, "LLMOS_TRANSIT_TOKEN_FILE": str(tmp_path / "token"), "LLMOS_TRANSIT_CA_FILE": str(authority.file)}
    source = key_source(Settings.read({"LLMOS_DATA_DIR": str(tmp_path), **chosen}))
    assert isinstance(source, FileSource)
    assert isinstance(source.envelope, TransitEnvelope)
    source.envelope.create_key()
    assert isinstance(source.load_or_create(), KeyRing)
    with pytest.raises(SettingsError, match="LLMOS_TRANSIT_TOKEN"):
        Settings.read({"LLMOS_TRANSIT_URL": url})
    with pytest.raises(SettingsError, match="one of"):
        Settings.read({**chosen, "LLMOS_PKCS11_MODULE": "/usr/lib/module.so"})
    with pytest.raises(SettingsError, match="https"):
        Settings.read({**chosen, "LLMOS_TRANSIT_URL": "http://vault.example/v1/transit"})
