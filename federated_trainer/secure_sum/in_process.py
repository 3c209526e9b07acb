"""One secure sum with every client in this process, for simulation, measurement and tests.

The same sessions as over Flower; only the messages take no wire. Not a deployment: whoever runs it sees every vector.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federated_trainer.secure_sum.client import ClientSession
from federated_trainer.secure_sum.messages import Masked
from federated_trainer.secure_sum.parameters import Parameters
from federated_trainer.secure_sum.quantize import RingVector
from federated_trainer.secure_sum.server import ServerSession


@dataclass(frozen=True)
class Outcome:
    """The sum, whose vectors are in it, and the bytes that the busiest client sent and received."""

    total: RingVector = field(repr=False)
    survivors: tuple[int, ...]
    bytes_sent: int
    bytes_received: int


def make_identities(clients: Collection[int]) -> tuple[dict[int, bytes], dict[int, bytes]]:
    """(private identity keys, public roster) of simulated clients."""
    keys = {client: Ed25519PrivateKey.generate() for client in clients}
    return {c: k.private_bytes_raw() for c, k in keys.items()}, {c: k.public_key().public_bytes_raw() for c, k in keys.items()}


def secure_sum(
    parameters: Parameters,
    vector_of: Callable[[int], RingVector],
    identities: Mapping[int, bytes],
    roster: Mapping[int, bytes],
    dropped_before: Mapping[str, Collection[int]] | None = None,
) -> Outcome:
    """Run all five stages. `dropped_before` names clients that vanish before a stage: share, mask, confirm or unmask.

    Raises what the sessions raise.
    """
    gone: dict[str, Collection[int]] = dict(dropped_before or {})
    server = ServerSession(parameters, roster)
    clients = {client: ClientSession(parameters, client, identities[client], roster) for client in parameters.clients}
    sent, received = dict.fromkeys(clients, 0), dict.fromkeys(clients, 0)

    adverts = [session.advertise() for session in clients.values()]
    to_share = server.take_adverts(adverts)
    envelopes = []
    for client in to_share:
        received[client] += 140 * len(to_share[client])
        if client not in gone.get("share", ()):
            envelopes.append(clients[client].share(to_share[client]))
            sent[client] += 140 + sum(8 + len(sealed) for sealed in envelopes[-1].sealed.values())
    to_mask = server.take_envelopes(envelopes)

    def masked_vectors() -> Iterator[Masked]:
        for client, sealed in to_mask.items():
            received[client] += sum(8 + len(one) for one in sealed.values())
            if client not in gone.get("mask", ()):
                message = clients[client].mask(sealed, vector_of(client))
                sent[client] += message.vector.nbytes
                yield message

    survivors = server.take_masked(masked_vectors())
    confirmations = [clients[client].confirm(survivors) for client in survivors if client not in gone.get("confirm", ())]
    requests = server.take_confirmations(confirmations)
    shares = []
    for client, request in requests.items():
        received[client] += 8 * len(survivors) + 72 * len(request.confirmations)
        if client not in gone.get("unmask", ()):
            shares.append(clients[client].unmask(request))
            sent[client] += 72 + sum(8 + len(s) for group in (shares[-1].of_seeds, shares[-1].of_keys) for s in group.values())
    return Outcome(server.take_shares(shares), survivors, max(sent.values()), max(received.values()))
