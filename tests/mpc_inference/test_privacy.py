"""What a party and the dealer receive: uniform, independent of the prompt, and only what the documents list."""

import re
from pathlib import Path

import numpy as np
import pytest

from bench.mpc.fidelity import Pair
from mpc_inference import prg
from mpc_inference.config import read_config
from mpc_inference.llama import artifact
from mpc_inference.llama.deal import deal_layer
from mpc_inference.llama.layout import layout, view
from mpc_inference.llama.plain import forward
from mpc_inference.llama.weights import read_weights
from mpc_inference.native.core import core

DOCUMENT = Path(__file__).parents[2] / "docs" / "mpc.md"
CHI2_255_AT_1E6 = 377.0


@pytest.fixture(scope="module")
def prepared(tiny: Path) -> Path:
    return read_config(tiny).prepared


def run(prepared: Path, tokens: list[int]) -> Pair:
    pair = Pair(prepared)
    embedding = read_weights(prepared.parents[1] / "model", ("model.embed_tokens.weight",))["model.embed_tokens.weight"]
    session = pair.session(1, 64)
    session.step(embedding[tokens])
    return pair


def words_by_name(prepared: Path, tokens: list[int], rounds: int) -> dict[str, np.ndarray]:
    """The low bytes of every opened word that party 1 sends, by name, over several fresh sessions."""
    out: dict[str, list[np.ndarray]] = {}
    for _ in range(rounds):
        pair = Pair(prepared)
        engine = pair.engines[0]
        original = engine._exchange
        names: list[tuple[str, int, int]] = []
        record = pair.ledgers[0].record

        def note(name: str, count: int, bits: int, names: list = names, record=record) -> None:
            names.append((name, count, bits))
            record(name, count, bits)

        def keep(mine: bytes, names: list = names, original=original) -> bytes:
            theirs, at = original(mine), 0
            for name, count, bits in names:
                size = 2 if bits <= 16 else 4 if bits <= 32 else 8
                if bits >= 8:
                    out.setdefault(name, []).append(np.frombuffer(theirs, np.uint8)[at : at + count * size : size])
                at += count * size
            names.clear()
            return theirs

        pair.ledgers[0].record = note  # type: ignore[method-assign]
        engine._exchange = keep
        embedding = read_weights(prepared.parents[1] / "model", ("model.embed_tokens.weight",))["model.embed_tokens.weight"]
        pair.session(1, 64).step(embedding[tokens])
    return {name: np.concatenate(parts) for name, parts in out.items()}


def chi_square(values: np.ndarray) -> float:
    counts = np.bincount(values, minlength=256)
    expected = counts.sum() / 256
    return float(((counts - expected) ** 2 / expected).sum())


def test_every_received_word_is_uniform(prepared: Path) -> None:
    """Chi-square over low bytes by name, and pooled; 20 tests at 1e-6 each: false-alarm rate 2e-5."""
    words = words_by_name(prepared, [7, 8, 9, 10, 11, 12, 13, 14], 12)
    tested = 0
    for name, values in words.items():
        if values.size >= 256 * 5:
            assert chi_square(values) < CHI2_255_AT_1E6, name
            tested += 1
    assert tested >= 10
    assert chi_square(np.concatenate(list(words.values()))) < CHI2_255_AT_1E6


def test_received_words_do_not_depend_on_the_prompt(prepared: Path) -> None:
    """Two-sample chi-square between two prompts; false-alarm rate 1e-6."""
    a, b = (np.concatenate(list(words_by_name(prepared, t, 6).values())) for t in ([7] * 8, [40, 12, 33, 9, 58, 21, 3, 50]))
    ca, cb = np.bincount(a, minlength=256), np.bincount(b, minlength=256)
    ka, kb = np.sqrt(cb.sum() / ca.sum()), np.sqrt(ca.sum() / cb.sum())
    assert ((ka * ca - kb * cb) ** 2 / (ca + cb)).sum() < CHI2_255_AT_1E6


def test_the_dealer_s_corrections_are_uniform_and_fresh(prepared: Path) -> None:
    """Every shared item as party 1 receives it, over fresh sessions: chi-square over low bytes at 1e-6 a name; no key begins twice."""
    shape, values, seen = artifact.load(prepared).shape, {}, set()
    for attempt in range(64):
        position = 1 + attempt % 8
        seeds = (prg.new_seed(), prg.new_seed())
        masks = [np.zeros((64, shape.kv_width), np.uint64) for _ in "kv"]
        keys, both = deal_layer(core(), shape, 0, 1, position, seeds, *masks)
        plan = layout(shape, 1, position)
        correction = np.frombuffer(both[plan.key_bytes :], np.uint8)
        for name, item in plan.shared.items():
            values.setdefault(name, []).append((view(correction, item).reshape(-1) & item.dtype.type(255)).astype(np.uint8))
        for item in plan.keys.values():
            first = keys[item.start : item.start + 16]
            assert first not in seen
            seen.add(first)
    tested = 0
    for name, parts in values.items():
        pooled = np.concatenate(parts)
        if pooled.size >= 256 * 5:
            assert chi_square(pooled) < CHI2_255_AT_1E6, name
            tested += 1
    assert tested >= 10


def test_opened_names_are_the_documented_ones(prepared: Path) -> None:
    pair = run(prepared, [7, 8, 9])
    listed = set(re.findall(r"^\| `([a-z ]+)` \|", DOCUMENT.read_text(), re.M))
    assert set(pair.ledgers[0].opened) == listed
    assert pair.ledgers[0].opened == pair.ledgers[1].opened


def test_rounds_are_eighteen_a_layer(prepared: Path) -> None:
    pair = run(prepared, [7, 8, 9])
    assert pair.ledgers[0].rounds == 18 * pair.model.shape.layers


def test_hidden_states_match_the_plain_model(prepared: Path) -> None:
    model = prepared.parents[1] / "model"
    weights = read_weights(model)
    pair = Pair(prepared)
    tokens = np.array([1, *range(7, 37)])
    got = pair.session(1, 64).step(weights["model.embed_tokens.weight"][tokens[1:]])
    reference, _ = forward(pair.model.shape, weights, tokens)
    assert np.abs(got - reference[1:]).max() < 0.05
