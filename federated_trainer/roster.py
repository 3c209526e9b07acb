"""Who the institutions are: their names and identity keys, in a file that each of them checks by itself.

The roster is what keeps a server from playing clients: `secure_sum` trusts only keys that it names. It is handed over
outside the federation (signed mail, a meeting), and its digest can be read over the telephone.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federated_trainer.errors import BadConfiguration


def client_id(identity_public: bytes) -> int:
    """63 bits of SHA-256 over the identity key: the client's number in a secure sum."""
    return int.from_bytes(hashlib.sha256(identity_public).digest()[:8], "big") >> 1


@dataclass(frozen=True, slots=True)
class Roster:
    """Names and 32-byte Ed25519 public keys by client number."""

    names: dict[int, str]
    identities: dict[int, bytes]

    def digest(self) -> str:
        """SHA-256 in hex over the identities; equal at every institution that has the same roster."""
        return hashlib.sha256(b"".join(self.identities[client] for client in sorted(self.identities))).hexdigest()


def read_roster(path: Path) -> Roster:
    """{"institutions": [{"name": ..., "identity": 64 hex digits}, ...]}. Raises BadConfiguration."""
    try:
        entries = [(str(entry["name"]), bytes.fromhex(entry["identity"])) for entry in json.loads(path.read_text())["institutions"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadConfiguration(
            f"The roster {path.name} can't be read; it needs a name and a hexadecimal identity key for each institution."
        ) from error
    identities = {client_id(identity): identity for _, identity in entries}
    if len(entries) < 2 or len(identities) != len(entries) or any(len(identity) != 32 for identity in identities.values()):
        raise BadConfiguration("The roster needs at least two institutions with distinct identity keys of 32 bytes.")
    return Roster({client_id(identity): name for name, identity in entries}, identities)


def write_roster(path: Path, institutions: dict[str, bytes]) -> None:
    """Write the roster of these names and public identity keys."""
    entries = [{"name": name, "identity": identity.hex()} for name, identity in sorted(institutions.items())]
    path.write_text(json.dumps({"institutions": entries}, indent=1) + "\n", encoding="utf-8")


def make_identity(path: Path) -> bytes:
    """Write a new private identity key (readable by its owner only) and return the public one."""
    key = Ed25519PrivateKey.generate()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(key.private_bytes_raw().hex() + "\n", encoding="ascii")
    return key.public_key().public_bytes_raw()


def read_private_key(path: Path) -> bytes:
    """The 32-byte private key that `make_identity` wrote. Raises BadConfiguration."""
    try:
        private = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise BadConfiguration(f"The key file {path.name} can't be read; `llmos federate keys` makes one.") from error
    if len(private) != 32:
        raise BadConfiguration(f"The key file {path.name} does not hold a 32-byte key.")
    return private


def public_of(private: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
