"""Why the reference decodes by itself: CrypTen's decoder is one too low just above a negative integer."""

import numpy as np
import torch

from mpc_inference.reference.library import crypten
from mpc_inference.reference.shares import encode


def test_crypten_s_decoder_is_one_too_low_just_above_a_negative_integer() -> None:
    values = np.array([-9.99997, -3.99998, -9.9, 9.99997])
    words = torch.from_numpy(encode(values, 16).view(np.int64))
    decoded = crypten().encoder.FixedPointEncoder(precision_bits=16).decode(words).numpy()
    assert np.abs(words.numpy() / 2.0**16 - values).max() < 1e-5
    assert np.abs(decoded[2:] - values[2:]).max() < 1e-4
    assert np.abs(decoded[:2] - (values[:2] - 1)).max() < 1e-3
