"""The client's draw: its distribution, the nucleus, and that noise of the protocol rarely changes a seeded draw."""

import numpy as np
import pytest

from mpc_inference.errors import InvalidSampling
from mpc_inference.sampling import Sampling

LOGITS = np.log(np.array([0.1, 0.4, 0.05, 0.3, 0.15], np.float32))
DRAWS = 20_000


def test_temperature_zero_is_the_largest() -> None:
    assert Sampling().draw(LOGITS, 0) == 1


@pytest.mark.parametrize(("temperature", "top_p", "kept"), [(1.0, 1.0, [0, 1, 2, 3, 4]), (1.0, 0.7, [1, 3]), (0.5, 1.0, [0, 1, 2, 3, 4])])
def test_draws_follow_the_softmax_of_the_nucleus(temperature: float, top_p: float, kept: list[int]) -> None:
    """The seed is fixed, so this either always holds or never: counts within 4.5 standard deviations."""
    expected = np.zeros(5)
    expected[kept] = np.exp(LOGITS[kept].astype(float) / temperature)
    expected /= expected.sum()
    sampling = Sampling(temperature, top_p, seed=7)
    counts = np.bincount([sampling.draw(LOGITS, position) for position in range(DRAWS)], minlength=5)
    assert (np.abs(counts - DRAWS * expected) <= 4.5 * np.sqrt(DRAWS * expected * (1 - expected))).all()


def test_a_seeded_draw_is_the_same_and_noise_on_the_logits_hardly_ever_changes_it() -> None:
    """Noise of at most 0.01 moves an edge by at most 0.005: of 5 tokens, at most 1 draw in 25."""
    sampling, noise = Sampling(1.0, 1.0, seed=3), np.random.default_rng(1)
    same = [
        sampling.draw(LOGITS, position) == sampling.draw(LOGITS + noise.uniform(-0.01, 0.01, 5).astype(np.float32), position)
        for position in range(2000)
    ]
    assert np.mean(same) > 0.96
    assert [sampling.draw(LOGITS, position) for position in range(50)] == [sampling.draw(LOGITS, position) for position in range(50)]


@pytest.mark.parametrize("fields", [{"temperature": -1.0}, {"temperature": 2.5}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_out_of_range_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(InvalidSampling):
        Sampling(**fields)
