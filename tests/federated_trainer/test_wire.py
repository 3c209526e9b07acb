"""What comes off the wire is the value that was sent, or is refused: records of another machine are not trusted."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import RecordDict

from federated_trainer import wire
from federated_trainer.errors import BadUpdate
from federated_trainer.secure_sum.messages import Advert, Confirmation, Envelopes, Masked, Shares, UnmaskRequest

ADVERTS = (Advert(1, b"a" * 32, b"b" * 32, b"c" * 64), Advert(2**63 - 1, b"d" * 32, b"e" * 32, b"f" * 64))
REQUEST = UnmaskRequest((1, 2), (3,), (Confirmation(1, b"x" * 64),))


def test_every_message_survives() -> None:
    assert wire.adverts_of(wire.adverts_record(ADVERTS)) == ADVERTS
    assert wire.envelopes_of(wire.sealed_record(1, {2: b"s"})) == Envelopes(1, {2: b"s"})
    assert wire.confirmation_of(wire.confirmation_record(Confirmation(1, b"s"))) == Confirmation(1, b"s")
    assert wire.request_of(wire.request_record(REQUEST)) == REQUEST
    assert wire.shares_of(wire.shares_record(Shares(1, {2: b"s"}, {3: b"k"}))) == Shares(1, {2: b"s"}, {3: b"k"})
    masked = wire.masked_of(wire.masked_record(Masked(1, np.arange(5, dtype=np.uint32))))
    assert (masked.client, masked.vector.dtype, list(masked.vector)) == (1, np.dtype(np.uint32), [0, 1, 2, 3, 4])


@pytest.mark.parametrize(
    "content",
    [
        RecordDict(),
        wire.record({"client": "1"}),
        wire.record({"clients": [1], "keys": [b"only one"]}),
        wire.record({"client": 1, "to": [1, 2], "sealed": [b"one"]}),
        wire.record({"client": 1, "to": ["x"], "sealed": [b"one"]}),
        wire.record({"client": 1, "signature": 5}),
    ],
)
@pytest.mark.parametrize("decode", [wire.begun_of, wire.envelopes_of, wire.masked_of, wire.confirmation_of, wire.shares_of, wire.task_of])
def test_misfits_are_refused(content: RecordDict, decode) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadUpdate):
        decode(content)
