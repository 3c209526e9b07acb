"""The proof that the served model runs behind this plugin: token ids that only the plugin forces, fresh for each nonce.

    ids 0..2    the vocabulary size of the logits, three digits to the base 256, the highest first
    id  3       the interface that runs: 1 (V1 runner) or 2 (GPU runner)
    ids 4..11   the first eight bytes of SHA-256("llmos-dp/1" || nonce || the four ids above)

Sixty-four bits: a server without the plugin gives the right ids by chance once in 2^64. All ids are under 256, which every
vocabulary has. It shows that the plugin is loaded; it does NOT show that the server is honest (see `request`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

LENGTH = 12


@dataclass(frozen=True, slots=True)
class ProvenModel:
    """What the handshake tells: the vocabulary size of the logits and the interface, 1 or 2."""

    vocabulary: int
    interface: int

    @property
    def sentinel(self) -> int:
        """The token id that private requests never draw: the last one (in most vocabularies a reserved or very rare token)."""
        return self.vocabulary - 1


def proof(nonce: str, model: ProvenModel) -> list[int]:
    """The twelve token ids for a nonce. Raises ValueError for a vocabulary of 2^24 or more, or under 256."""
    if not 256 <= model.vocabulary < 1 << 24:
        raise ValueError("the handshake needs a vocabulary of 256 to 2^24 tokens")
    head = bytes([*model.vocabulary.to_bytes(3, "big"), model.interface])
    return [*head, *hashlib.sha256(b"llmos-dp/1" + nonce.encode() + head).digest()[:8]]


def read_proof(nonce: str, token_ids: Sequence[int]) -> ProvenModel | None:
    """The served model that the ids prove for this nonce, or None where they prove nothing."""
    if len(token_ids) < LENGTH or any(not 0 <= i < 256 for i in token_ids[:LENGTH]):
        return None
    model = ProvenModel(vocabulary=int.from_bytes(bytes(token_ids[:3]), "big"), interface=token_ids[3])
    if model.vocabulary < 256 or proof(nonce, model) != list(token_ids[:LENGTH]):
        return None
    return model
