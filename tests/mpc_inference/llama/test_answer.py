"""The tournament against NumPy's arg max, and draws at a temperature against softmax."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bench.mpc.fidelity import Pair
from mpc_inference import prg
from mpc_inference.llama import answer
from mpc_inference.llama.layout import answer_layout
from mpc_inference.llama.supply import Supply


def draw(pair: Pair, logits: np.ndarray, temperature: int, rows: int) -> np.ndarray:
    """`rows` tokens drawn together from the same logits (vocab,)."""
    plan = answer_layout(pair.shape)
    seeds = [(prg.new_seed(), prg.new_seed()) for _ in range(rows)]
    messages = [pair.recipe.answer(both) for both in seeds]
    words = np.repeat(np.rint(logits * 2**answer.LOGIT).astype(np.int64).view(np.uint64)[None], rows, 0)
    first = prg.uniform_words(*words.shape)

    def run(party: int) -> np.ndarray:
        arithmetic = pair.engines[party]._arithmetic
        have = [
            Supply(party, [plan], [prg.stream(s[party], 0, 0, plan.stream_bytes(party))], [np.frombuffer(m[party], np.uint8)], [])
            for s, m in zip(seeds, messages, strict=True)
        ]
        return answer.draw(arithmetic, (first, words - first)[party], [temperature] * rows, have)

    with ThreadPoolExecutor(2) as threads:
        mine, theirs = threads.map(run, (0, 1))
    return np.asarray(mine + theirs)


@pytest.mark.parametrize("mode", ["owner", "shared"])
def test_temperature_zero_is_the_arg_max(tiny_owner: Path, tiny_shared: Path, mode: str) -> None:
    pair, rng = Pair({"owner": tiny_owner, "shared": tiny_shared}[mode], reveal_logits=False), np.random.default_rng(3)
    for _ in range(20):
        logits = rng.normal(0, 20, pair.shape.vocab).clip(-100, 100)
        assert (draw(pair, logits, 0, 2) == logits.argmax()).all()


def test_a_draw_follows_the_softmax(tiny_shared: Path) -> None:
    """1,000 draws at temperature 1.5 against the exact softmax, rare tokens pooled: chi-square, false-alarm rate 1e-4."""
    pair, count = Pair(tiny_shared, reveal_logits=False), 1000
    logits = np.random.default_rng(8).normal(0, 2, pair.shape.vocab)
    p = np.exp(logits / 1.5)
    p /= p.sum()
    counts = np.bincount(draw(pair, logits, 3 << answer.TEMPERATURE_FRACTION - 1, count), minlength=len(p))
    common = p * count >= 5
    observed = np.append(counts[common], counts[~common].sum())
    expected = np.append(p[common], p[~common].sum()) * count
    assert ((observed - expected) ** 2 / expected).sum() < stats.chi2.ppf(1 - 1e-4, common.sum())


def test_noise_is_gumbel() -> None:
    """Kolmogorov-Smirnov over 50,000 values, false-alarm rate 1e-6."""
    noise = answer.gumbel(50_000).view(np.int64) / 2**answer.NOISE
    assert stats.kstest(noise, "gumbel_r").pvalue > 1e-6
