"""Each function on shares against NumPy, over its whole range, with its stated error."""

import secrets

import numpy as np
import pytest

from mpc_inference.native.core import core
from mpc_inference.nonlinear import compare, curve, exponential, silu, zero


def fresh(n: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = (np.frombuffer(secrets.token_bytes(16 * n), np.uint8).reshape(n, 16) for _ in "01")
    return a, b


def masked(x: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    low = np.uint64((1 << bits) - 1)
    r = np.frombuffer(secrets.token_bytes(8 * len(x)), np.uint64) & low
    return r, (x + r) & low


def test_silu() -> None:
    x = np.concatenate([np.linspace(-119.9, 119.9, 4001), np.linspace(-9, 9, 4001)])
    ints = np.rint(x * 2**silu.FRACTION_BITS).astype(np.int64)
    r, c = masked(ints.view(np.uint64), silu.BITS)
    roots = fresh(len(x))
    key = silu.keys(core(), r, *roots)
    y = sum(silu.evaluate(core(), p, c.astype(np.uint32), roots[p], key) for p in (0, 1)).view(np.int32) / 2**silu.OUT_FRACTION_BITS
    exact = ints / 2**silu.FRACTION_BITS
    exact = exact / (1 + np.exp(-exact))
    inside = np.abs(x) < 9.8
    assert np.abs(y - exact)[inside].max() < 2e-4
    assert np.abs(y - exact).max() < 7.5e-4


def test_exponential() -> None:
    x = np.concatenate([np.linspace(-24, 0.02, 6001), np.linspace(-250, -24, 2001)])
    r, c = masked(np.rint(x * 2**exponential.FRACTION_BITS).astype(np.int64).view(np.uint64), exponential.BITS)
    roots = fresh(len(x))
    key = exponential.keys(core(), r, *roots)
    y = (
        sum(exponential.evaluate(core(), p, c.astype(np.uint32), roots[p], key) for p in (0, 1)).view(np.int64)
        / 2**exponential.OUT_FRACTION_BITS
    )
    assert (np.abs(y - np.exp(x)) <= np.exp(x) * 2**-11 + 2**-22).all()


@pytest.mark.parametrize("largest", [1, 6, 64, 1024])
def test_zero(largest: int) -> None:
    depth = zero.depth_for(largest)
    count = np.concatenate([np.zeros(40), np.arange(largest + 1)]).astype(np.uint64)
    r, c = masked(count, depth)
    roots = fresh(len(count))
    key = zero.keys(core(), depth, r, *roots)
    z = sum(zero.evaluate(core(), p, depth, c.astype(np.uint32), roots[p], key) for p in (0, 1))
    assert (z == (count == 0)).all()


@pytest.mark.parametrize(("kind", "bound"), [("reciprocal", 2**-12.5), ("inverse_square_root", 2**-13.4)])
def test_curve(kind: curve.Kind, bound: float) -> None:
    x = np.floor(2 ** np.linspace(10, 35.97, 3000)).astype(np.uint64)
    r, c = masked(x, curve.BITS)
    roots = fresh(len(x))
    key = curve.keys(core(), r, *roots)
    unit, shift, bits = 2.0**-26, 1e-5, 36
    y = sum(curve.evaluate(core(), p, kind, unit, shift, bits, c, roots[p], key) for p in (0, 1)).view(np.int64) / 2**bits
    exact = 1 / (x * unit) if kind == "reciprocal" else 1 / np.sqrt(x * unit + shift)
    assert np.abs(y / exact - 1).max() < bound


def test_compare() -> None:
    """The bit and the larger value, over pairs near and far, equal and of both signs."""
    rng = np.random.default_rng(11)
    u, v = rng.integers(-(2**17), 2**17, (2, 3000))
    v[:500], v[500:1000] = u[:500], u[500:1000] + rng.integers(-2, 3, 500)
    n, low = len(u), np.uint32((1 << compare.BITS) - 1)
    masks, values = rng.integers(0, 2**32, (2, n)).astype(np.uint32), rng.integers(0, 2**32, n).astype(np.uint32)
    roots = fresh(n)
    tree, payload, beside = compare.keys(core(), ((masks[0] + masks[1]) & low).astype(np.uint64), *roots)
    first = rng.integers(0, 2**32, beside.shape).astype(np.uint32)
    opened = ((u - v).astype(np.uint32) + masks[0] + masks[1]) & low
    shares = ((first, values), (beside - first, v.astype(np.uint32) - values))
    (bit0, best0), (bit1, best1) = (
        compare.evaluate(core(), p, opened, masks[p], roots[p], tree, payload, shares[p][0], shares[p][1]) for p in (0, 1)
    )
    assert (bit0 + bit1 == (u >= v)).all()
    assert ((best0 + best1) & low == np.maximum(u, v).astype(np.uint32) & low).all()


def test_one_party_learns_nothing_from_its_key() -> None:
    """Party 0's key and share look the same for two masks: chi-square over bytes, false-alarm rate 1e-6 (377)."""
    n = 4000
    for alpha in (0, (1 << silu.BITS) - 1):
        key = silu.keys(core(), np.full(n, alpha, np.uint64), *fresh(n)).reshape(n, -1, 16)
        counts = np.bincount(key[:, :, 8:].reshape(-1), minlength=256)  # the upper half: no control bits
        expected = counts.sum() / 256
        assert ((counts - expected) ** 2 / expected).sum() < 377
