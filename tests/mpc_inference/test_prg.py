"""The generator against NIST's vectors, and its streams against each other."""

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mpc_inference import prg


def test_library_ctr_matches_nist_sp800_38a_f51() -> None:
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    counter = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    plain = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
    expected = bytes.fromhex("874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff")
    assert Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(plain) == expected


def test_stream_is_ctr_of_zeros_from_its_counter() -> None:
    seed = bytes(range(16))
    got = prg.stream(seed, 7, 3, 1001)
    counter = (7).to_bytes(4, "big") + (3).to_bytes(4, "big") + bytes(8)
    assert got.tobytes() == Cipher(algorithms.AES(seed), modes.CTR(counter)).encryptor().update(bytes(1001))


def test_streams_differ_by_seed_position_and_layer() -> None:
    a, b = prg.new_seed(), prg.new_seed()
    streams = {prg.stream(*where, 64).tobytes() for where in ((a, 0, 0), (a, 0, 1), (a, 1, 0), (b, 0, 0))}
    assert len(streams) == 4


def test_words_are_uniform() -> None:
    """Chi-square over bytes of 2^20 words; false-alarm rate 1e-6 (255 degrees of freedom: 377)."""
    counts = np.bincount(prg.uniform_words(1 << 20).view(np.uint8), minlength=256)
    expected = counts.sum() / 256
    assert ((counts - expected) ** 2 / expected).sum() < 377
