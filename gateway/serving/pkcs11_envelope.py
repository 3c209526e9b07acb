"""Seals the key ring under an AES key inside an HSM, by PKCS#11 (python-pkcs11; tested on SoftHSM).

The HSM's key is 256 bits, marked sensitive and not extractable. A sealed ring is the 16-byte IV and the AES-CBC-PAD ciphertext of
(HMAC-SHA-256 key ‖ ring), then the HMAC of IV and ciphertext under that inner key: CBC is in every HSM where GCM is not, and the tag
makes a changed file a refusal. Opening it asks the HSM once, at start.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.pii.keyring import KeyRingError

_IV_BYTES, _TAG_BYTES = 16, 32


@dataclass(frozen=True, slots=True)
class Pkcs11Envelope:
    """The token's label, the key's label, and the user PIN. Raises KeyRingError."""

    module: Path
    token: str
    key: str
    pin: str = field(repr=False)

    def seal(self, plain: bytes) -> bytes:
        inner, iv = secrets.token_bytes(_TAG_BYTES), secrets.token_bytes(_IV_BYTES)
        with self._opened() as key:
            sealed = bytes(key.encrypt(inner + plain, mechanism_param=iv, mechanism=_cbc()))
        return iv + sealed + hmac.digest(inner, iv + sealed, "sha256")

    def open(self, sealed: bytes) -> bytes:
        iv, body, tag = sealed[:_IV_BYTES], sealed[_IV_BYTES:-_TAG_BYTES], sealed[-_TAG_BYTES:]
        with self._opened() as key:
            plain = bytes(key.decrypt(body, mechanism_param=iv, mechanism=_cbc()))
        inner, ring = plain[:_TAG_BYTES], plain[_TAG_BYTES:]
        if not hmac.compare_digest(hmac.digest(inner, iv + body, "sha256"), tag):
            raise KeyRingError("the sealed key ring does not verify; it was altered, or sealed under another key")
        return ring

    def create_key(self) -> None:
        """Make the AES key in the token. Raises KeyRingError where one of this label stands already."""
        import pkcs11

        with self._session() as session:
            try:
                session.get_key(label=self.key, object_class=pkcs11.ObjectClass.SECRET_KEY)
            except pkcs11.NoSuchKey:
                attributes = {pkcs11.Attribute.SENSITIVE: True, pkcs11.Attribute.EXTRACTABLE: False}
                session.generate_key(pkcs11.KeyType.AES, 256, label=self.key, store=True, template=attributes)
                return
        raise KeyRingError(f"the token {self.token} has a key {self.key} already")

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        import pkcs11

        with self._session() as session:
            yield session.get_key(label=self.key, object_class=pkcs11.ObjectClass.SECRET_KEY)

    @contextmanager
    def _session(self) -> Iterator[Any]:
        """A failure of the device is a KeyRingError that names the failure's kind, never the PIN."""
        try:
            import pkcs11
        except ImportError:
            raise KeyRingError("PKCS#11 needs the extra `hsm`: pip install 'llmos[hsm]'") from None
        try:
            token = pkcs11.lib(str(self.module)).get_token(token_label=self.token)
            with token.open(rw=True, user_pin=self.pin) as session:
                yield session
        except (pkcs11.PKCS11Error, RuntimeError) as error:
            raise KeyRingError(f"the HSM refused ({error.__class__.__name__}); see LLMOS_PKCS11_*") from None


def _cbc() -> Any:
    import pkcs11

    return pkcs11.Mechanism.AES_CBC_PAD
