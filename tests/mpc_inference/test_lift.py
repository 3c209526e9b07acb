"""Lifting is exact over the whole range, for every mask."""

import numpy as np
import pytest

from mpc_inference import lift


@pytest.mark.parametrize("bits", [6, 8])
def test_every_value_under_every_mask(bits: int) -> None:
    size = 1 << bits
    x, r0 = (a.reshape(-1) for a in np.meshgrid(np.arange(-(size // 4), size // 4), np.arange(size)))
    rng = np.random.default_rng(1)
    r0, r1 = r0.astype(np.uint64), rng.integers(0, size, len(x)).astype(np.uint64)
    z, rho = lift.dealer(r0, r1, bits)
    z0 = rng.integers(0, 2**64, z.shape, dtype=np.uint64)
    opened = (x.astype(np.int64).view(np.uint64) + np.uint64(lift.offset(bits)) + r0 + r1) & np.uint64(size - 1)
    got = lift.share(0, opened, r0, z0, bits) + lift.share(1, opened, r1, z - z0, bits)
    assert (got.view(np.int64) == x).all()
    chosen = np.where(opened >> np.uint64(bits - 1), rho[1], rho[0])
    assert ((opened - np.uint64(lift.offset(bits)) - chosen).view(np.int64) == x).all()
