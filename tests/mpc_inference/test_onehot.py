"""A caller's keys against NumPy: one at the token, zero elsewhere, for any vocabulary."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc_inference import onehot
from mpc_inference.native.build import build
from mpc_inference.native.core import Core, core


def expanded(engine: Core, token: int, vocabulary: int) -> np.ndarray:
    keys = onehot.keys(token, vocabulary)
    assert all(len(k) == onehot.key_bytes(vocabulary) for k in keys)
    first, second = (onehot.expand(engine, p, vocabulary, np.frombuffer(k, np.uint8)) for p, k in enumerate(keys))
    return first + second


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 700).flatmap(lambda v: st.tuples(st.just(v), st.integers(0, v - 1))))
def test_keys_expand_to_the_one_hot_vector(case: tuple[int, int]) -> None:
    vocabulary, token = case
    assert (expanded(core(), token, vocabulary) == (np.arange(vocabulary) == token)).all()


@pytest.mark.parametrize("token", [0, 1, 32_767, 32_768, 49_151])
def test_smollm2_s_vocabulary_on_both_cores(token: int) -> None:
    portable = Core(build(portable=True))
    for engine in (core(), portable):
        assert (expanded(engine, token, 49_152) == (np.arange(49_152) == token)).all()
