"""Quantisation is exact to half a unit, wraps around as the ring does, and refuses sums that could overflow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from federated_trainer.errors import BadUpdate, HeadRoom
from federated_trainer.secure_sum.quantize import Quantizer


@given(
    bits=st.sampled_from([32, 64]),
    vectors=hnp.arrays(np.float64, (5, 8), elements=st.floats(-1.0, 1.0, allow_subnormal=False)),
)
def test_sum_of_encodings_is_encoding_of_sum(bits: int, vectors: np.ndarray) -> None:
    quantizer = Quantizer(bits, bound=1.0, fraction_bits=20, summands=5)
    total = quantizer.encode(vectors[0])
    for row in vectors[1:]:
        total = total + quantizer.encode(row)
    np.testing.assert_allclose(quantizer.decode(total), vectors.sum(axis=0), atol=5 * 0.5 / 2**20 + 1e-12)


def test_head_room_is_checked_beforehand() -> None:
    Quantizer(32, bound=1.0, fraction_bits=20, summands=2047)
    with pytest.raises(HeadRoom):
        Quantizer(32, bound=1.0, fraction_bits=20, summands=2048)
    with pytest.raises(HeadRoom):
        Quantizer(32, bound=1.0, fraction_bits=20, summands=100, noise_bound=2**25)
    with pytest.raises(HeadRoom):
        Quantizer(64, bound=1.0, fraction_bits=60, summands=2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1.01])
def test_values_that_cannot_be_encoded(bad: float) -> None:
    with pytest.raises(BadUpdate):
        Quantizer(32, bound=1.0, fraction_bits=20, summands=4).encode(np.array([0.0, bad]))


def test_noise_beyond_its_head_room_is_refused() -> None:
    quantizer = Quantizer(32, bound=1.0, fraction_bits=10, summands=4, noise_bound=5)
    quantizer.encode(np.zeros(2), noise=np.array([5, -5]))
    with pytest.raises(BadUpdate):
        quantizer.encode(np.zeros(2), noise=np.array([6, 0]))
