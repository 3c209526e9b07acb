"""Sealed boxes: what arrives is what was sent, and nothing that a carrier can do goes unnoticed."""

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mpc_inference import sealing, transport
from mpc_inference.errors import ConfigInvalid, FrameInvalid

DIGEST = "ab" * 32


class Wire:
    """One end of a carrier in memory; `box` is everything that was sent from here."""

    def __init__(self) -> None:
        self.inbox: deque[bytes] = deque()
        self.other: Wire | None = None
        self.boxes: list[bytes] = []
        self._came = threading.Condition()

    def send(self, kind: int, payload: bytes) -> None:
        assert self.other is not None
        self.boxes.append(payload)
        self.other.push(payload)

    def push(self, payload: bytes) -> None:
        with self._came:
            self.inbox.append(payload)
            self._came.notify()

    def receive(self, kind: int) -> bytearray:
        with self._came:
            assert self._came.wait_for(lambda: bool(self.inbox), 5)
            return bytearray(self.inbox.popleft())

    def set_deadline(self, timeout_s: float | None) -> None:
        return

    def close(self) -> None:
        return


def wires() -> tuple[Wire, Wire]:
    left, right = Wire(), Wire()
    left.other, right.other = right, left
    return left, right


def met(secret: X25519PrivateKey, *, party: int = 0, told_party: int = 0, digest: str = DIGEST) -> tuple[sealing.SealedLane, ...]:
    left, right = wires()
    answered: list[sealing.SealedLane] = []
    thread = threading.Thread(target=lambda: answered.append(sealing.answer(right, party, secret, DIGEST)))
    thread.start()
    caller = sealing.call(left, told_party, secret.public_key().public_bytes_raw(), digest)
    thread.join(5)
    return caller, answered[0]


def carried(lane: sealing.SealedLane) -> Wire:
    wire = lane._carrier
    assert isinstance(wire, Wire)
    return wire


@given(st.binary(max_size=30_000))
def test_a_frame_comes_out_as_it_went_in_and_its_size_is_a_power_of_two(payload: bytes) -> None:
    caller, party = met(X25519PrivateKey.generate())
    caller.send(transport.WORDS, payload)
    assert party.receive(transport.WORDS) == payload
    party.send_control({"hidden": 3})
    assert caller.receive_control() == {"hidden": 3}
    size = len(carried(caller).boxes[-1])
    assert size == sealing.padded_bytes(len(payload)) >= sealing.SMALLEST_BOX
    assert size & (size - 1) == 0
    assert len(payload) < 16 or payload not in carried(caller).boxes[-1]


def test_what_is_too_large_for_a_box_is_refused() -> None:
    with pytest.raises(FrameInvalid):
        sealing.padded_bytes(sealing.LARGEST_BOX)


def altered(box: bytes) -> bytes:
    return box[:100] + bytes([box[100] ^ 1]) + box[101:]


@pytest.mark.parametrize(
    "meddle",
    [
        lambda boxes: [altered(boxes[0])],
        lambda boxes: [boxes[0], boxes[0]],
        lambda boxes: [boxes[1], boxes[0]],
        lambda boxes: [boxes[1]],
        lambda boxes: [boxes[0][:-1]],
        lambda boxes: [boxes[0] + b"\0"],
        lambda boxes: [b""],
    ],
    ids=["altered", "replayed", "reordered", "one lost", "truncated", "extended", "empty"],
)
def test_a_box_that_was_meddled_with_does_not_open(meddle: Callable[[list[bytes]], list[bytes]]) -> None:
    caller, party = met(X25519PrivateKey.generate())
    for payload in (b"first", b"second"):
        caller.send(transport.WORDS, payload)
    inbox = carried(party).inbox
    boxes = list(inbox)
    inbox.clear()
    inbox.extend(meddle(boxes))
    with pytest.raises(FrameInvalid):
        [party.receive(transport.WORDS) for _ in range(2)]


def test_a_box_sealed_one_way_does_not_open_the_other_way() -> None:
    caller, _ = met(X25519PrivateKey.generate())
    caller.send(transport.WORDS, b"share")
    carried(caller).inbox.append(carried(caller).boxes[-1])
    with pytest.raises(FrameInvalid):
        caller.receive(transport.WORDS)


@pytest.mark.parametrize("wrong", [{"told_party": 1}, {"digest": "cd" * 32}], ids=["another party", "another model"])
def test_both_must_mean_the_same_party_and_model(wrong: dict[str, object]) -> None:
    caller, party = met(X25519PrivateKey.generate(), **wrong)  # type: ignore[arg-type]
    caller.send(transport.WORDS, b"share")
    with pytest.raises(FrameInvalid):
        party.receive(transport.WORDS)


def test_a_carrier_that_answers_in_the_party_s_place_can_read_nothing() -> None:
    left, right = wires()
    party_key = X25519PrivateKey.generate().public_key().public_bytes_raw()
    thread = threading.Thread(target=lambda: lanes.append(sealing.answer(right, 0, X25519PrivateKey.generate(), DIGEST)))
    lanes: list[sealing.SealedLane] = []
    thread.start()
    caller = sealing.call(left, 0, party_key, DIGEST)
    thread.join(5)
    caller.send(transport.WORDS, b"share")
    with pytest.raises(FrameInvalid):
        lanes[0].receive(transport.WORDS)


def test_a_replayed_request_meets_fresh_keys() -> None:
    secret = X25519PrivateKey.generate()
    caller, _ = met(secret)
    caller.send(transport.WORDS, b"share")
    again = Wire()
    again.other = Wire()
    for box in carried(caller).boxes:  # everything that the caller ever sent
        again.inbox.append(box)
    party = sealing.answer(again, 0, secret, DIGEST)
    with pytest.raises(FrameInvalid):
        party.receive(transport.WORDS)


@pytest.mark.parametrize("key", [b"", b"\0" * 32, b"\1" + b"\0" * 31, b"\7" * 31], ids=["none", "zero", "low order", "short"])
def test_an_unusable_key_is_refused(key: bytes) -> None:
    wire = Wire()
    wire.other = Wire()
    wire.inbox.append(key)
    with pytest.raises(FrameInvalid):
        sealing.answer(wire, 0, X25519PrivateKey.generate(), DIGEST)


def test_keys_are_made_once_for_their_owner_alone(tmp_path: Path) -> None:
    public = sealing.create_key(tmp_path, "party0")
    assert sealing.create_key(tmp_path, "party0") == public
    assert sealing.read_key(tmp_path, "party0").public_key().public_bytes_raw().hex() == public
    assert (tmp_path / "party0.seal.key").stat().st_mode & 0o077 == 0
    with pytest.raises(ConfigInvalid):
        sealing.read_key(tmp_path, "party1")
    (tmp_path / "party1.seal.key").write_text("nonsense")
    with pytest.raises(ConfigInvalid):
        sealing.read_key(tmp_path, "party1")
