"""Exact samples of the discrete Gaussian, by rejection over integers only.

Canonne, Kamath and Steinke 2020, "The Discrete Gaussian for Differential Privacy", algorithms 1 to 3, on arrays. No
floating-point number enters, so the samples have the stated distribution exactly, given uniform words.
Not covered: the time taken depends on the values drawn; a client that shows its timing to others leaks some of its noise.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from federated_trainer.dp.secure_random import SecureRandom

MAX_VARIANCE = 4096**2  # keeps every intermediate integer below 2^63
Words = npt.NDArray[np.uint64]


def _bernoulli_exp_at_most_one(numerators: Words, denominators: Words, random: SecureRandom) -> npt.NDArray[np.bool_]:
    """Coins of probability exp(-n/d) for 0 <= n <= d (algorithm 1, first case): the parity of a run of shrinking coins."""
    result = np.zeros(numerators.size, dtype=np.bool_)
    live = np.arange(numerators.size)
    k = np.uint64(1)
    while live.size:
        success = random.below(denominators[live] * k) < numerators[live]
        result[live[~success]] = bool(k & np.uint64(1))  # stopped at k: true where k is odd
        live = live[success]
        k += np.uint64(1)
    return result


def _bernoulli_exp(numerators: Words, denominators: Words, random: SecureRandom) -> npt.NDArray[np.bool_]:
    """Coins of probability exp(-n/d) for any n/d >= 0: whole units one coin exp(-1) each, then the rest."""
    units, rest = numerators // denominators, numerators % denominators
    alive = np.ones(numerators.size, dtype=np.bool_)
    ones = np.ones(numerators.size, dtype=np.uint64)
    while True:
        more = np.flatnonzero(alive & (units > 0))
        if not more.size:
            break
        alive[more] = _bernoulli_exp_at_most_one(ones[more], ones[more], random)
        units[more] -= np.uint64(1)
    left = np.flatnonzero(alive)
    alive[left] = _bernoulli_exp_at_most_one(rest[left], denominators[left], random)
    return alive


def _discrete_laplace(scale: int, count: int, random: SecureRandom) -> npt.NDArray[np.int64]:
    """[count] integers with P(x) ∝ exp(-|x|/scale) (algorithm 2)."""
    out: list[npt.NDArray[np.int64]] = []
    got = 0
    while got < count:
        tries = 2 * (count - got) + 16
        bounds = np.full(tries, scale, dtype=np.uint64)
        low = random.below(bounds)
        low = low[_bernoulli_exp_at_most_one(low, bounds, random)]
        ones = np.ones(low.size, dtype=np.uint64)
        high = np.zeros(low.size, dtype=np.uint64)
        live = np.arange(low.size)
        while live.size:
            live = live[_bernoulli_exp_at_most_one(ones[live], ones[live], random)]
            high[live] += np.uint64(1)
        magnitude = (low + np.uint64(scale) * high).astype(np.int64)
        negative = random.words(low.size) >> np.uint64(63) == 1
        kept = ~(negative & (magnitude == 0))  # else zero would count twice
        out.append(np.where(negative, -magnitude, magnitude)[kept])
        got += out[-1].size
    return np.concatenate(out)[:count]


def discrete_gaussian(variance: int, count: int, random: SecureRandom) -> npt.NDArray[np.int64]:
    """[count] int64 with P(x) ∝ exp(-x² / (2 variance)) (algorithm 3); 1 <= variance <= 4096². Raises ValueError."""
    if not 1 <= variance <= MAX_VARIANCE:
        raise ValueError(f"the variance must be an integer between 1 and {MAX_VARIANCE} squared units; choose another grid")
    scale = math.isqrt(variance) + 1
    denominator = 2 * variance * scale * scale
    out: list[npt.NDArray[np.int64]] = []
    got = 0
    while got < count:
        proposed = _discrete_laplace(scale, 2 * (count - got) + 16, random)
        gap = np.abs(np.abs(proposed) * scale - variance).astype(np.uint64)
        kept = _bernoulli_exp(gap * gap, np.full(gap.size, denominator, dtype=np.uint64), random)
        out.append(proposed[kept])
        got += out[-1].size
    return np.concatenate(out)[:count]
