"""Removing the masks from a sum, given enough shares: the one place where the server's sum becomes readable.

For each survivor its self mask is taken off. For each client that dropped out after sharing its keys, the pairwise masks
that its surviving neighbours had applied against it are taken off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from federated_trainer.errors import PeerRejected, TooFewClients
from federated_trainer.secure_sum import shamir
from federated_trainer.secure_sum.mask import apply_mask, pairwise_mask
from federated_trainer.secure_sum.messages import Advert
from federated_trainer.secure_sum.parameters import Parameters
from federated_trainer.secure_sum.primitives import KeyPair, agree
from federated_trainer.secure_sum.quantize import RingVector


def remove_self_mask(total: RingVector, seed: bytes, parameters: Parameters) -> None:
    """total ← total − PRG(seed), in place."""
    apply_mask(total, seed, subtract=True, ring_bits=parameters.ring_bits)


def remove_orphaned_masks(
    total: RingVector, dropped: int, mask_private: bytes, adverts: Mapping[int, Advert], survivors: Iterable[int], parameters: Parameters
) -> None:
    """Take off what survivors applied against `dropped`, in place. Raises PeerRejected where the key is not the advertised one."""
    keys = KeyPair.from_private(mask_private)
    if keys.public != adverts[dropped].mask_public:
        raise PeerRejected(f"The shares of client {dropped}'s key give another key than it advertised.")
    for other in survivors:
        seed = agree(keys, adverts[other].mask_public, b"mask", parameters.session_id(), dropped, other)
        # `other` applied its mask against `dropped`; what `dropped` would have applied is its negation.
        pairwise_mask(total, seed, dropped, other, parameters.ring_bits)


class Reconstructor:
    """Secrets from shares; Lagrange weights are computed once for each set of holders."""

    def __init__(self, parameters: Parameters) -> None:
        self._threshold = parameters.threshold
        self._positions = {client: position for position, client in enumerate(parameters.clients, start=1)}
        self._weights: dict[tuple[int, ...], dict[int, int]] = {}

    def secret(self, of: int, shares: Mapping[int, bytes]) -> bytes:
        """The 32-byte secret of client `of` from shares by holder. Raises TooFewClients, PeerRejected."""
        if len(shares) < self._threshold:
            raise TooFewClients(f"{len(shares)} shares of client {of}'s secret came; {self._threshold} are needed.")
        holders = tuple(sorted(self._positions[holder] for holder in shares))[: self._threshold]
        if holders not in self._weights:
            self._weights[holders] = shamir.lagrange_at_zero(holders)
        by_position = {self._positions[holder]: share for holder, share in shares.items()}
        try:
            return shamir.combine({position: by_position[position] for position in holders}, self._weights[holders])
        except ValueError as error:
            raise PeerRejected(f"The shares of client {of}'s secret do not fit together.") from error
