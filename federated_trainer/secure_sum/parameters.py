"""The public parameters that every client of one secure sum agrees on before it sends anything.

They are hashed into the session identifier, which every signature, envelope and mask binds. A server that tells two
clients different parameters (another threshold, another model) gives them different sessions: they reject each other.
Not covered: whether the parameters are wise. `ClientSession` refuses those below its own institution's minimum.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from federated_trainer.errors import BadConfiguration
from federated_trainer.secure_sum.quantize import RING_BITS


@dataclass(frozen=True, slots=True)
class Parameters:
    """
    round_id: 16 to 64 bytes, never used twice.
    clients: identifiers of the invited clients, ascending, distinct, at least 2.
    threshold: how many clients of a neighbourhood (a client and its neighbours) must live to the end.
    neighbours: degree of the graph; clients - 1 for the complete graph; even otherwise.
    length: coordinates of the vector. ring_bits: 32 or 64.
    context: what the vectors mean (a digest of the global weights, the quantisation, the weights' rule).

    Raises BadConfiguration.
    """

    round_id: bytes
    clients: tuple[int, ...]
    threshold: int
    neighbours: int
    length: int
    ring_bits: int
    context: bytes

    def __post_init__(self) -> None:
        n = len(self.clients)
        if n < 2 or list(self.clients) != sorted(set(self.clients)) or self.clients[0] < 0 or self.clients[-1] >= 2**64:
            raise BadConfiguration("A secure sum needs at least 2 distinct clients in ascending order of their 64-bit identifiers.")
        if not 16 <= len(self.round_id) <= 64:
            raise BadConfiguration("The round identifier must have 16 to 64 bytes.")
        if self.ring_bits not in RING_BITS:
            raise BadConfiguration(f"The ring must have {' or '.join(map(str, RING_BITS))} bits.")
        if not 1 <= self.length <= 2**31:
            raise BadConfiguration("The vector must have between 1 and 2^31 coordinates.")
        if not self.complete and (self.neighbours % 2 or not 2 <= self.neighbours < n - 1):
            raise BadConfiguration("The degree of a sparse graph must be even, at least 2 and below clients - 1.")
        # Two disjoint sets of `threshold` shares must not exist in one neighbourhood: with both a server could open a
        # client's seed and its key (Bonawitz et al. 2017, section 6.2).
        if not 2 * self.threshold > self.neighbours + 1 or self.threshold > self.neighbours + 1:
            raise BadConfiguration("The threshold must be more than half of a neighbourhood, and at most all of it.")

    @property
    def complete(self) -> bool:
        """Every client is a neighbour of every other."""
        return self.neighbours == len(self.clients) - 1

    def session_id(self) -> bytes:
        """32 bytes: SHA-256 over an injective encoding of all fields."""
        digest = hashlib.sha256(b"llmos secure sum 1")
        for part in (self.round_id, self.context):
            digest.update(struct.pack(">I", len(part)) + part)
        digest.update(struct.pack(">IIQI", self.threshold, self.neighbours, self.length, self.ring_bits))
        digest.update(struct.pack(f">I{len(self.clients)}Q", len(self.clients), *self.clients))
        return digest.digest()

    def neighbourhood(self, client: int) -> tuple[int, ...]:
        """The neighbours of `client`, ascending, without itself.

        Sparse: positions in a permutation keyed by the session identifier, joined to the nearest on a ring (a Harary
        graph on random labels; Bell et al. 2020, section 3.3). The server, which follows the protocol in that setting, could
        search for a round identifier that suits it; the complete graph has no such freedom.
        """
        if self.complete:
            return tuple(other for other in self.clients if other != client)
        order = _permutation(self)
        n, position = len(order), order.index(client)
        return tuple(sorted(order[(position + step) % n] for half in range(1, self.neighbours // 2 + 1) for step in (half, -half)))


def _permutation(parameters: Parameters) -> tuple[int, ...]:
    """The clients, ordered by a keyed hash of their identifiers."""
    session = parameters.session_id()
    return tuple(sorted(parameters.clients, key=lambda client: hashlib.sha256(session + struct.pack(">Q", client)).digest()))
