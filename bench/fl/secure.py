"""What secure aggregation costs beside a plain sum: bytes and seconds a client and at the server."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

import numpy as np

from federated_trainer.secure_sum.client import ClientSession
from federated_trainer.secure_sum.in_process import make_identities, secure_sum
from federated_trainer.secure_sum.parameters import Parameters


@dataclass(frozen=True)
class Cost:
    clients: int
    neighbours: int
    length: int
    seconds: float
    client_ms: float
    sent: int
    received: int
    plain_bytes: int
    plain_seconds: float


def measure(clients: int, length: int, neighbours: int | None = None, dropped: float = 0.0) -> Cost:
    """One sum of 32-bit vectors; `dropped` of the clients vanish before they send theirs."""
    ids = tuple(range(1, clients + 1))
    degree = clients - 1 if neighbours is None else neighbours
    threshold = (degree + 1) // 2 + 1
    parameters = Parameters(secrets.token_bytes(16), ids, threshold, degree, length, 32, b"bench")
    identities, roster = make_identities(ids)
    base = np.arange(length, dtype=np.uint32)
    gone = {"mask": list(ids[: int(dropped * clients)])}
    began = time.perf_counter()
    outcome = secure_sum(parameters, lambda client: base, identities, roster, gone)
    seconds = time.perf_counter() - began
    assert np.array_equal(outcome.total, base * np.uint32(len(outcome.survivors)))
    began = time.perf_counter()
    total = np.zeros(length, dtype=np.uint32)
    for _ in ids:
        total += base
    plain = time.perf_counter() - began
    return Cost(
        clients,
        degree,
        length,
        seconds,
        _client_ms(parameters, identities, roster),
        outcome.bytes_sent,
        outcome.bytes_received,
        4 * length,
        plain,
    )


def _client_ms(parameters: Parameters, identities: dict[int, bytes], roster: dict[int, bytes]) -> float:
    """One client's own work up to its masked vector."""
    own = parameters.clients[0]
    others = {c: ClientSession(parameters, c, identities[c], roster) for c in (own, *parameters.neighbourhood(own))}
    adverts = [session.advertise() for session in others.values()]
    sealed = {}
    for client, session in others.items():
        if client != own:
            mine = set(parameters.neighbourhood(client))
            known = [a for a in adverts if a.client in mine or a.client == client]
            if len(known) >= parameters.threshold:
                sealed[client] = session.share(known).sealed[own]
    began = time.perf_counter()
    others[own].share(adverts)
    others[own].mask(sealed, np.zeros(parameters.length, dtype=np.uint32))
    return (time.perf_counter() - began) * 1e3
