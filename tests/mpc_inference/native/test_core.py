"""The C core against independent implementations."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc_inference import prg
from mpc_inference.native.build import build
from mpc_inference.native.core import FIXED_KEYS, Core, core


@pytest.fixture(scope="module")
def portable() -> Core:
    return Core(build(portable=True))


@pytest.mark.parametrize("count", [1, 3, 4, 15, 16, 17, 33])
def test_mmo_is_aes_xor_input(count: int, portable: Core) -> None:
    blocks = np.random.default_rng(count).integers(0, 256, (count, 16)).astype(np.uint8)
    for key in range(4):
        aes = Cipher(algorithms.AES(FIXED_KEYS[16 * key : 16 * key + 16]), modes.ECB()).encryptor()
        expected = np.frombuffer(aes.update(blocks.tobytes()), np.uint8).reshape(-1, 16) ^ blocks
        assert (core().mmo(key, blocks) == expected).all()
        assert (portable.mmo(key, blocks) == expected).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 11), st.integers(1, 70), st.integers(0, 2**32), st.booleans())
def test_gemm_is_exact_modulo_2_64(rows: int, outs: int, cols: int, seed: int, wide: bool) -> None:
    rng = np.random.default_rng(seed)
    w = rng.integers(-(2**63), 2**63 - 1, (outs, cols)) if wide else rng.integers(-32768, 32768, (outs, cols)).astype(np.int16)
    x = rng.integers(0, 2**64, (rows, cols), dtype=np.uint64)
    assert (core().gemm(w, x) == x @ w.astype(np.int64).view(np.uint64).T).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 4200), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.booleans())
def test_masked_gemm_adds_the_stream_of_prg(rows: int, outs: int, cols: int, position: int, layer: int, opened: bool) -> None:
    rng = np.random.default_rng(cols)
    seed, portable = rng.bytes(16), Core(build(portable=True))
    mask = prg.stream(seed, position, layer, outs * cols * 8).view(np.uint64).reshape(outs, cols)
    e = rng.integers(0, 2**64, (outs, cols), dtype=np.uint64) if opened else None
    x = rng.integers(0, 2**64, (rows, cols), dtype=np.uint64)
    expected = x @ (mask if e is None else e + mask).T
    for engine in (core(), portable):
        assert (engine.gemm_masked(seed, position, layer, e, x, outs) == expected).all()


def test_portable_core_evaluates_keys_of_the_fast_one(portable: Core) -> None:
    from mpc_inference.nonlinear import silu

    assert not portable.has_aesni
    rng = np.random.default_rng(3)
    n = 50
    roots = [rng.integers(0, 256, (n, 16)).astype(np.uint8) for _ in "01"]
    mask = rng.integers(0, 1 << silu.BITS, n).astype(np.uint64)
    key = silu.keys(core(), mask, *roots)
    assert (key == silu.keys(portable, mask, *roots)).all()
    opened = rng.integers(0, 1 << silu.BITS, n).astype(np.uint32)
    for party in (0, 1):
        assert (silu.evaluate(core(), party, opened, roots[party], key) == silu.evaluate(portable, party, opened, roots[party], key)).all()
