"""The secure sum is exact over its survivors, whichever clients drop out and wherever; and it refuses what it must."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federated_trainer.errors import BadConfiguration, IllegalStage, PeerRejected, SecureSumError, ServerMisbehaved, TooFewClients
from federated_trainer.secure_sum.client import ClientSession, Stage
from federated_trainer.secure_sum.in_process import make_identities, secure_sum
from federated_trainer.secure_sum.messages import Advert, Shares, UnmaskRequest
from federated_trainer.secure_sum.parameters import Parameters
from federated_trainer.secure_sum.primitives import KeyPair, sign
from federated_trainer.secure_sum.quantize import ring_dtype
from federated_trainer.secure_sum.server import ServerSession

IDENTITIES, ROSTER = make_identities(range(1, 41))


def parameters(
    n: int = 4, threshold: int = 3, neighbours: int | None = None, length: int = 17, ring_bits: int = 32, context: bytes = b"model"
) -> Parameters:
    return Parameters(
        b"round-0123456789", tuple(range(1, n + 1)), threshold, n - 1 if neighbours is None else neighbours, length, ring_bits, context
    )


def vector(p: Parameters, client: int) -> np.ndarray:
    words = np.random.default_rng(client).integers(0, 2**p.ring_bits, p.length, dtype=np.uint64)
    return words.astype(ring_dtype(p.ring_bits))


def expected(p: Parameters, clients: tuple[int, ...]) -> np.ndarray:
    return np.sum([vector(p, client) for client in clients], axis=0, dtype=ring_dtype(p.ring_bits))


@settings(deadline=None, max_examples=25)
@given(
    ring_bits=st.sampled_from([32, 64]),
    n=st.integers(4, 8),
    stages=st.lists(st.sampled_from(["share", "mask", "confirm", "unmask", "stays"]), min_size=2, max_size=2),
)
def test_sum_is_exact_when_two_clients_drop_anywhere(ring_bits: int, n: int, stages: list[str]) -> None:
    threshold = max(n - 2, n // 2 + 1)
    p = parameters(n, threshold, ring_bits=ring_bits)
    drops: dict[str, list[int]] = {}
    for client, stage in zip((1, n), stages, strict=True):
        if n - threshold > sum(len(v) for v in drops.values()):
            drops.setdefault(stage, []).append(client)
    outcome = secure_sum(p, lambda c: vector(p, c), IDENTITIES, ROSTER, drops)
    assert set(p.clients) - set(outcome.survivors) == {*drops.get("share", []), *drops.get("mask", [])}
    np.testing.assert_array_equal(outcome.total, expected(p, outcome.survivors))


@pytest.mark.parametrize("stage", ["share", "mask", "confirm", "unmask"])
def test_sparse_graph_survives_a_drop_at_each_stage(stage: str) -> None:
    p = parameters(40, threshold=6, neighbours=10, length=2_000)
    outcome = secure_sum(p, lambda c: vector(p, c), IDENTITIES, ROSTER, {stage: [3, 29]})
    np.testing.assert_array_equal(outcome.total, expected(p, outcome.survivors))


@pytest.mark.parametrize("stage", ["share", "mask", "confirm", "unmask"])
def test_too_few_survivors_end_the_sum(stage: str) -> None:
    p = parameters(4, 3)
    with pytest.raises(TooFewClients):
        secure_sum(p, lambda c: vector(p, c), IDENTITIES, ROSTER, {stage: [1, 2]})


def test_masked_vectors_look_uniform_and_differ_from_the_input() -> None:
    """A chi-square over 16 bins of 2^16 masked zeros; the bound 44.3 is exceeded by a uniform source once in 10,000 runs."""
    p = parameters(3, 2, length=2**16)
    sessions, server = drive_to_mask(p)
    masked = sessions[1].mask(server[1], np.zeros(p.length, dtype=np.uint32)).vector
    counts = np.bincount(masked >> 28, minlength=16)
    assert float(np.sum((counts - p.length / 16) ** 2 / (p.length / 16))) < 44.3


def drive_to_mask(p: Parameters) -> tuple[dict[int, ClientSession], dict[int, dict[int, bytes]]]:
    server = ServerSession(p, ROSTER)
    sessions = {c: ClientSession(p, c, IDENTITIES[c], ROSTER) for c in p.clients}
    adverts = server.take_adverts(s.advertise() for s in sessions.values())
    return sessions, server.take_envelopes(sessions[c].share(adverts[c]) for c in sessions)


def drive_to_unmask(p: Parameters) -> tuple[dict[int, ClientSession], dict[int, UnmaskRequest], ServerSession]:
    server = ServerSession(p, ROSTER)
    sessions = {c: ClientSession(p, c, IDENTITIES[c], ROSTER) for c in p.clients}
    adverts = server.take_adverts(s.advertise() for s in sessions.values())
    envelopes = server.take_envelopes(sessions[c].share(adverts[c]) for c in sessions)
    survivors = server.take_masked(sessions[c].mask(envelopes[c], vector(p, c)) for c in sessions if c != p.clients[-1])
    return sessions, server.take_confirmations(sessions[c].confirm(survivors) for c in survivors), server


def test_client_refuses_seed_and_key_of_one_client() -> None:
    sessions, requests, _ = drive_to_unmask(parameters())
    honest = requests[1]
    both = UnmaskRequest(honest.seeds_of, (*honest.keys_of, honest.seeds_of[1]), honest.confirmations)
    with pytest.raises(ServerMisbehaved, match="both"):
        sessions[1].unmask(both)
    with pytest.raises(IllegalStage):  # and it does not answer the honest request after that
        sessions[1].unmask(honest)


@pytest.mark.parametrize(("seeds", "keys"), [((4,), ()), ((1, 2, 3), (3,)), ((), (2,)), ((9,), ())])
def test_client_refuses_requests_against_the_confirmed_survivors(seeds: tuple[int, ...], keys: tuple[int, ...]) -> None:
    sessions, requests, _ = drive_to_unmask(parameters())  # client 4 dropped
    with pytest.raises(ServerMisbehaved):
        sessions[1].unmask(UnmaskRequest(seeds, keys, requests[1].confirmations))


def test_client_refuses_confirmations_of_other_survivors() -> None:
    """The server tells one client another set of survivors: its neighbours' signatures do not fit."""
    p = parameters(5, 4)
    server = ServerSession(p, ROSTER)
    sessions = {c: ClientSession(p, c, IDENTITIES[c], ROSTER) for c in p.clients}
    adverts = server.take_adverts(s.advertise() for s in sessions.values())
    envelopes = server.take_envelopes(sessions[c].share(adverts[c]) for c in sessions)
    for c in sessions:
        sessions[c].mask(envelopes[c], vector(p, c))
    lied = sessions[1].confirm((1, 2, 3, 4))
    true = [sessions[c].confirm(p.clients) for c in p.clients[1:]]
    with pytest.raises(TooFewClients, match="confirmed the same survivors"):
        sessions[1].unmask(UnmaskRequest((1, 2, 3, 4), (5,), (lied, *true)))


def test_adverts_are_bound_to_identity_session_and_uniqueness() -> None:
    p = parameters(3, 2)
    other = parameters(3, 2, context=b"another model")
    fresh = lambda q: {c: ClientSession(q, c, IDENTITIES[c], ROSTER) for c in q.clients}  # noqa: E731
    here, there = fresh(p), fresh(other)
    own, foreign = here[1].advertise(), there[2].advertise()
    with pytest.raises(PeerRejected):  # signed for other global weights
        here[1].share([own, foreign, here[3].advertise()])
    here = fresh(p)
    keys = KeyPair.generate(), KeyPair.generate()
    forged = Advert(2, keys[0].public, keys[1].public, b"")
    forged = Advert(2, keys[0].public, keys[1].public, sign(IDENTITIES[3], forged.signed_bytes(p.session_id())))
    with pytest.raises(PeerRejected):  # the server, or client 3, plays client 2
        here[1].share([here[1].advertise(), forged, here[3].advertise()])
    here = fresh(p)
    adverts = [s.advertise() for s in here.values()]
    with pytest.raises(ServerMisbehaved):  # one client twice
        here[1].share([*adverts, adverts[1]])
    here = fresh(p)
    with pytest.raises(ServerMisbehaved):  # without its own
        here[1].share([s.advertise() for s in here.values()][1:])


def test_altered_envelope_is_refused() -> None:
    p = parameters(3, 2)
    server = ServerSession(p, ROSTER)
    sessions = {c: ClientSession(p, c, IDENTITIES[c], ROSTER) for c in p.clients}
    adverts = server.take_adverts(s.advertise() for s in sessions.values())
    envelopes = server.take_envelopes(sessions[c].share(adverts[c]) for c in sessions)
    envelopes[1][2] = envelopes[1][2][:-1] + bytes([envelopes[1][2][-1] ^ 1])
    survivors = server.take_masked(sessions[c].mask(envelopes[c], vector(p, c)) for c in sessions)
    requests = server.take_confirmations(sessions[c].confirm(survivors) for c in survivors)
    with pytest.raises(PeerRejected):
        sessions[1].unmask(requests[1])


CALLS: dict[Stage, Callable[[ClientSession], object]] = {
    Stage.ADVERTISE: lambda s: s.advertise(),
    Stage.SHARE: lambda s: s.share([]),
    Stage.MASK: lambda s: s.mask({}, np.zeros(17, dtype=np.uint32)),
    Stage.CONFIRM: lambda s: s.confirm([1]),
    Stage.UNMASK: lambda s: s.unmask(UnmaskRequest((), (), ())),
}


@pytest.mark.parametrize(("stage", "call"), [pair for pair in itertools.product(Stage, CALLS) if pair[0] is not pair[1]])
def test_every_illegal_transition_ends_the_client(stage: Stage, call: Stage) -> None:
    session = ClientSession(parameters(), 1, IDENTITIES[1], ROSTER)
    session.stage = stage
    with pytest.raises(IllegalStage):
        CALLS[call](session)
    assert session.stage is Stage.ABORTED


@pytest.mark.parametrize("call", ["take_envelopes", "take_masked", "take_confirmations", "take_shares"])
def test_every_illegal_transition_ends_the_server(call: str) -> None:
    server = ServerSession(parameters(), ROSTER)
    with pytest.raises(IllegalStage):
        getattr(server, call)([])
    with pytest.raises(IllegalStage):
        server.take_adverts([])


def test_session_state_survives_the_wire() -> None:
    p = parameters(3, 2)
    sessions, envelopes = drive_to_mask(p)
    restored = ClientSession.from_state(p, 1, IDENTITIES[1], ROSTER, sessions[1].to_state())
    x = vector(p, 1)
    np.testing.assert_array_equal(restored.mask(envelopes[1], x).vector, sessions[1].mask(envelopes[1], x).vector)


def test_false_shares_never_give_a_wrong_sum_silently_for_a_dropped_key() -> None:
    sessions, requests, server = drive_to_unmask(parameters())
    shares = [sessions[c].unmask(requests[c]) for c in requests]
    spoilt = Shares(1, shares[0].of_seeds, {4: bytes(66)})
    with pytest.raises(SecureSumError):
        server.take_shares([spoilt, *shares[1:]])


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 2},  # not more than half of 4
        {"threshold": 5},
        {"n": 1},
        {"length": 0},
        {"ring_bits": 16},
        {"n": 10, "threshold": 4, "neighbours": 5},  # an odd degree
    ],
)
def test_parameters_that_no_sum_can_have(change: dict[str, int]) -> None:
    with pytest.raises(BadConfiguration):
        parameters(**change)


def test_client_keeps_its_own_floor() -> None:
    with pytest.raises(BadConfiguration, match="at least 4"):
        ClientSession(parameters(4, 3), 1, IDENTITIES[1], ROSTER, minimum_clients=4)


def test_secrets_stay_out_of_repr() -> None:
    keys = KeyPair.generate()
    assert keys.private.hex() not in repr(keys)
    assert repr(keys.private) not in repr(keys)
