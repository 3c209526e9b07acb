"""The messages of the protocol as frozen values, each named for the stage that sends it.

Signatures cover the session identifier, so that no message of one round means anything in another.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from federated_trainer.secure_sum.quantize import RingVector


@dataclass(frozen=True, slots=True)
class Advert:
    """Stage 1, client to all: two fresh public keys under the client's identity."""

    client: int
    mask_public: bytes
    envelope_public: bytes
    signature: bytes

    def signed_bytes(self, session_id: bytes) -> bytes:
        return b"advert" + session_id + struct.pack(">Q", self.client) + self.mask_public + self.envelope_public


@dataclass(frozen=True, slots=True)
class Envelopes:
    """Stage 2, client to server: for each neighbour a sealed pair of shares. Server to client: by sender instead."""

    client: int
    sealed: Mapping[int, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Masked:
    """Stage 3, client to server: its vector under its masks, [length] ring."""

    client: int
    vector: RingVector = field(repr=False)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Stage 4, client to server, which passes it on: a signature over the survivors."""

    client: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class UnmaskRequest:
    """Stage 5, server to client: whose self-mask seeds and whose mask keys are asked for, and who confirmed."""

    seeds_of: tuple[int, ...]
    keys_of: tuple[int, ...]
    confirmations: tuple[Confirmation, ...]


@dataclass(frozen=True, slots=True)
class Shares:
    """Stage 5, client to server: one share for each client asked for."""

    client: int
    of_seeds: Mapping[int, bytes] = field(repr=False)
    of_keys: Mapping[int, bytes] = field(repr=False)


def survivors_bytes(session_id: bytes, survivors: Iterable[int]) -> bytes:
    """What a confirmation signs."""
    ordered = sorted(survivors)
    return b"survivors" + session_id + hashlib.sha256(struct.pack(f">{len(ordered)}Q", *ordered)).digest()
