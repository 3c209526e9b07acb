"""The server's half of a secure sum: it relays sealed envelopes, adds masked vectors, and unmasks only their sum.

Each stage takes what came from the clients that are still there and returns what goes to each; clients that did not
answer have dropped out. A malformed message drops its sender; too few left ends the sum (TooFewClients).
Not covered: a client's false vector cannot be seen here. Nothing of a single vector is ever readable in this object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum

import numpy as np

from federated_trainer.errors import IllegalStage, PeerRejected, TooFewClients
from federated_trainer.secure_sum import shamir
from federated_trainer.secure_sum.messages import Advert, Confirmation, Envelopes, Masked, Shares, UnmaskRequest, survivors_bytes
from federated_trainer.secure_sum.parameters import Parameters
from federated_trainer.secure_sum.primitives import verifies
from federated_trainer.secure_sum.quantize import RingVector, ring_dtype
from federated_trainer.secure_sum.unmask import Reconstructor, remove_orphaned_masks, remove_self_mask


class ServerStage(IntEnum):
    ADVERTS = 0
    ENVELOPES = 1
    MASKED = 2
    CONFIRMATIONS = 3
    SHARES = 4
    DONE = 5
    ABORTED = 6


class ServerSession:
    """One secure sum as its server sees it. `roster` as in ClientSession: the server too drops forged messages."""

    def __init__(self, parameters: Parameters, roster: Mapping[int, bytes]) -> None:
        self.parameters = parameters
        self.stage = ServerStage.ADVERTS
        self._session_id = parameters.session_id()
        self._roster = dict(roster)
        self._adverts: dict[int, Advert] = {}
        self._shared: tuple[int, ...] = ()
        self._survivors: tuple[int, ...] = ()
        self._total: RingVector = np.zeros(0, dtype=ring_dtype(parameters.ring_bits))
        self._neighbours = {client: frozenset(parameters.neighbourhood(client)) for client in parameters.clients}

    @property
    def survivors(self) -> tuple[int, ...]:
        """Whose vectors are in the sum (known after the masked vectors came)."""
        return self._survivors

    def take_adverts(self, adverts: Iterable[Advert]) -> dict[int, tuple[Advert, ...]]:
        """Stage 1: what each live client gets: the adverts of itself and its neighbours. Raises IllegalStage, TooFewClients."""
        self._enter(ServerStage.ADVERTS)
        for advert in adverts:
            public = self._roster.get(advert.client)
            if (
                advert.client in self.parameters.clients
                and public
                and verifies(public, advert.signed_bytes(self._session_id), advert.signature)
            ):
                self._adverts[advert.client] = advert
        self._need(self._adverts)
        self.stage = ServerStage.ENVELOPES
        return {
            client: tuple(advert for other, advert in sorted(self._adverts.items()) if other == client or other in self._neighbours[client])
            for client in self._adverts
        }

    def take_envelopes(self, envelopes: Iterable[Envelopes]) -> dict[int, dict[int, bytes]]:
        """Stage 2: for each live client the envelopes sealed to it, by sender. Raises IllegalStage, TooFewClients."""
        self._enter(ServerStage.ENVELOPES)
        sealed = {message.client: dict(message.sealed) for message in envelopes if message.client in self._adverts}
        complete = {client: own for client, own in sealed.items() if set(own) == self._neighbours[client] & set(self._adverts)}
        self._need(complete)
        self._shared = tuple(sorted(complete))
        self.stage = ServerStage.MASKED
        return {
            client: {other: complete[other][client] for other in self._shared if other in self._neighbours[client]}
            for client in self._shared
        }

    def take_masked(self, vectors: Iterable[Masked]) -> tuple[int, ...]:
        """Stage 3: add the masked vectors as they come; returns the survivors. Raises IllegalStage, TooFewClients."""
        self._enter(ServerStage.MASKED)
        total = np.zeros(self.parameters.length, dtype=ring_dtype(self.parameters.ring_bits))
        came: set[int] = set()
        for message in vectors:
            fits = message.vector.shape == total.shape and message.vector.dtype == total.dtype
            if message.client in self._shared and message.client not in came and fits:
                np.add(total, message.vector, out=total)
                came.add(message.client)
        self._need(came)
        self._survivors, self._total = tuple(sorted(came)), total
        self.stage = ServerStage.CONFIRMATIONS
        return self._survivors

    def take_confirmations(self, confirmations: Iterable[Confirmation]) -> dict[int, UnmaskRequest]:
        """Stage 4: the request to each client that confirmed. Raises IllegalStage, TooFewClients."""
        self._enter(ServerStage.CONFIRMATIONS)
        signed = survivors_bytes(self._session_id, self._survivors)
        valid = {
            c.client: c for c in confirmations if c.client in self._survivors and verifies(self._roster[c.client], signed, c.signature)
        }
        self._need(valid)
        self.stage = ServerStage.SHARES
        requests: dict[int, UnmaskRequest] = {}
        for client in sorted(valid):
            holders = (self._neighbours[client] | {client}) & set(self._shared)
            requests[client] = UnmaskRequest(
                seeds_of=tuple(sorted(holders & set(self._survivors))),
                keys_of=tuple(sorted(holders - set(self._survivors))),
                confirmations=tuple(valid[other] for other in sorted(holders & set(valid))),
            )
        return requests

    def take_shares(self, shares: Iterable[Shares]) -> RingVector:
        """Stage 5: the sum of the survivors' vectors, [length] ring. Raises IllegalStage, TooFewClients, PeerRejected."""
        self._enter(ServerStage.SHARES)
        seeds: dict[int, dict[int, bytes]] = {client: {} for client in self._survivors}
        keys: dict[int, dict[int, bytes]] = {client: {} for client in self._shared if client not in seeds}
        for message in shares:
            if message.client not in self._survivors:
                continue
            for wanted, given in ((seeds, message.of_seeds), (keys, message.of_keys)):
                for of, share in given.items():
                    if (
                        of in wanted
                        and len(share) == shamir.SHARE_BYTES
                        and (of == message.client or of in self._neighbours[message.client])
                    ):
                        wanted[of][message.client] = share
        reconstructor = Reconstructor(self.parameters)
        try:
            for client, held in seeds.items():
                remove_self_mask(self._total, reconstructor.secret(client, held), self.parameters)
            for client, held in keys.items():
                orphans = self._neighbours[client] & set(self._survivors)
                remove_orphaned_masks(self._total, client, reconstructor.secret(client, held), self._adverts, orphans, self.parameters)
        except (TooFewClients, PeerRejected):
            self.stage = ServerStage.ABORTED
            raise
        self.stage = ServerStage.DONE
        return self._total

    def _need(self, present: Iterable[int]) -> None:
        """Every present client must still have `threshold` of its neighbourhood."""
        left = set(present)
        if len(left) < self.parameters.threshold or any(len(left & (self._neighbours[c] | {c})) < self.parameters.threshold for c in left):
            self.stage = ServerStage.ABORTED
            raise TooFewClients(
                f"{len(left)} clients are left; each neighbourhood needs {self.parameters.threshold}. Start the round anew."
            )

    def _enter(self, stage: ServerStage) -> None:
        if self.stage is not stage:
            was, self.stage = self.stage, ServerStage.ABORTED
            raise IllegalStage(f"The server was given {stage.name.lower()} in stage {was.name}; the sum is over.")
