"""Seals the key ring under a key of a key service that speaks HashiCorp Vault's transit API (Vault, OpenBao, or a bridge to a cloud's KMS).

The service's key never leaves it. A sealed ring is the service's own ciphertext (`vault:v1:…`, AES-256-GCM, so that a changed file does
not open); rotating the key there leaves it readable. Opening it asks the service once, at start. Whoever has the token can open the file.
"""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from gateway.pii.keyring import KeyRingError

_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class TransitEnvelope:
    """`url` is the mount, such as https://vault.example:8200/v1/transit; `key` the key's name there. All methods raise KeyRingError."""

    url: str
    key: str
    token: str = field(repr=False)
    ca_file: Path | None = None

    def seal(self, plain: bytes) -> bytes:
        sealed = self._ask("encrypt", {"plaintext": base64.b64encode(plain).decode("ascii")}, "ciphertext")
        return sealed.encode("ascii")

    def open(self, sealed: bytes) -> bytes:
        try:
            text = sealed.decode("ascii").strip()
            return base64.b64decode(self._ask("decrypt", {"ciphertext": text}, "plaintext"), validate=True)
        except ValueError:
            raise KeyRingError("the sealed key ring is not a ciphertext of the key service, or its answer is none") from None

    def create_key(self) -> None:
        """Make the key where the service has none of this name; one that stands is left as it is."""
        self._call("keys", {"type": "aes256-gcm96", "exportable": False})

    def _ask(self, what: str, body: dict[str, Any], answer: str) -> str:
        found = self._call(what, body).get("data")
        value = found.get(answer) if isinstance(found, dict) else None
        if not isinstance(value, str) or not value.isascii():
            raise KeyRingError("the key service's answer has another form than the transit API's")
        return value

    def _call(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        """A failure says the status or the error's kind, never the token or what was sent."""
        try:
            trust = ssl.create_default_context(cafile=self.ca_file)
            with httpx.Client(verify=trust, timeout=_TIMEOUT_S, trust_env=False) as client:
                answer = client.post(f"{self.url.rstrip('/')}/{what}/{self.key}", json=body, headers={"x-vault-token": self.token})
            if not answer.is_success:
                raise KeyRingError(f"the key service refused (status {answer.status_code}); see LLMOS_TRANSIT_*")
            found = answer.json() if answer.content else {}
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise KeyRingError(f"the key service can't be used ({error.__class__.__name__}); see LLMOS_TRANSIT_*") from None
        return found if isinstance(found, dict) else {}
