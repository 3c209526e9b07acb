"""What a party and the dealer receive, in every mode: uniform, independent of the prompt, and only what the documents list."""

import re
from pathlib import Path

import numpy as np
import pytest

from bench.mpc.fidelity import Pair
from mpc_inference import onehot, prg
from mpc_inference.config import read_config
from mpc_inference.ledger import Ledger
from mpc_inference.llama import masked, plain
from mpc_inference.llama.dealing import SessionDealing
from mpc_inference.llama.layout import answer_layout, entrance_layout, layout, view
from mpc_inference.llama.weights import read_weights
from mpc_inference.native.core import core

DOCUMENT = Path(__file__).parents[2] / "docs" / "mpc.md"
CHI2_255_AT_1E6 = 377.0


class NamedLedger(Ledger):
    """Remembers what the next exchange carries."""

    def record(self, name: str, count: int, bits: int) -> None:
        self.__dict__.setdefault("due", []).append((name, count, bits))
        super().record(name, count, bits)


def run(config: Path, tokens: list[int], reveal_logits: bool = False, keep: dict[str, list[np.ndarray]] | None = None) -> Pair:
    """One prompt through both parties; keep: the low byte of every word that party 0 receives, by name."""
    ledgers = (NamedLedger(), NamedLedger())

    def receive(party: int, theirs: bytes) -> None:
        at, due = 0, ledgers[party].__dict__["due"]
        for name, count, bits in due:
            size = 2 if bits <= 16 else 4 if bits <= 32 else 8
            if keep is not None and party == 0 and bits >= 8:
                keep.setdefault(name, []).append(np.frombuffer(theirs, np.uint8)[at : at + count * size : size])
            at += count * size
        assert at == len(theirs)
        due.clear()

    pair = Pair(config, reveal_logits, ledgers, receive)
    session = pair.session(1)
    session.step(tokens[:-1])
    session.step(tokens[-1:])
    return pair


def words_by_name(config: Path, tokens: list[int], rounds: int) -> dict[str, np.ndarray]:
    kept: dict[str, list[np.ndarray]] = {}
    for _ in range(rounds):
        run(config, tokens, keep=kept)
    return {name: np.concatenate(parts) for name, parts in kept.items()}


def chi_square(values: np.ndarray) -> float:
    counts = np.bincount(values, minlength=256)
    expected = counts.sum() / 256
    return float(((counts - expected) ** 2 / expected).sum())


def two_sample(a: np.ndarray, b: np.ndarray) -> float:
    ca, cb = np.bincount(a, minlength=256), np.bincount(b, minlength=256)
    ka, kb = np.sqrt(cb.sum() / ca.sum()), np.sqrt(ca.sum() / cb.sum())
    return float(((ka * ca - kb * cb) ** 2 / (ca + cb)).sum())


def test_every_received_word_is_uniform(tiny_each: Path) -> None:
    """Chi-square over low bytes by name, and pooled; at most 30 tests a mode at 1e-6 each: false-alarm rate 3e-5 a mode."""
    words = words_by_name(tiny_each, [7, 8, 9, 10, 11, 12, 13, 14], 12)
    tested = 0
    for name, values in words.items():
        if values.size >= 256 * 5:
            assert chi_square(values) < CHI2_255_AT_1E6, name
            tested += 1
    assert tested >= (10 if read_config(tiny_each).mode == "public" else 17)
    assert chi_square(np.concatenate(list(words.values()))) < CHI2_255_AT_1E6


def test_received_words_do_not_depend_on_the_prompt(tiny_each: Path) -> None:
    """Two-sample chi-square between two prompts; false-alarm rate 1e-6 a mode."""
    a, b = (np.concatenate(list(words_by_name(tiny_each, t, 6).values())) for t in ([7] * 8, [40, 12, 33, 9, 58, 21, 3, 50]))
    assert two_sample(a, b) < CHI2_255_AT_1E6


def test_the_dealer_s_corrections_are_uniform_and_fresh(tiny_each: Path) -> None:
    """Every shared item as party 1 receives it, over fresh sessions: chi-square over low bytes at 1e-6 a name; no key begins twice."""
    recipe = Pair(tiny_each).recipe
    shape, private = recipe.shape, recipe.correlate is not None
    values: dict[str, list[np.ndarray]] = {}
    seen: set[bytes] = set()

    def look(message: np.ndarray, plan: object) -> None:
        for name, item in plan.shared.items():  # type: ignore[attr-defined]
            words = view(message[plan.key_bytes :], item).reshape(-1)  # type: ignore[attr-defined]
            values.setdefault(name, []).append((words & item.dtype.type(255)).astype(np.uint8))
        for item in plan.keys.values():  # type: ignore[attr-defined]
            first = message[item.start : item.start + 16].tobytes()
            assert first not in seen
            seen.add(first)

    for _ in range(8):
        dealing = SessionDealing(recipe, 1, (prg.new_seed(), prg.new_seed()))
        for position in range(1, 9):
            message = np.frombuffer(dealing.next()[1], np.uint8)
            plan = layout(shape, 0, position + 1, True) if private else layout(shape, 1, position)
            size = plan.message_bytes(1)
            for layer in range(shape.layers):
                look(message[layer * size : (layer + 1) * size], plan)
            if private:
                look(message[shape.layers * size :], entrance_layout(shape))
                look(np.frombuffer(recipe.answer((prg.new_seed(), prg.new_seed()))[1], np.uint8), answer_layout(shape))
    tested = 0
    for name, parts in values.items():
        pooled = np.concatenate(parts)
        if pooled.size >= 256 * 5:
            assert chi_square(pooled) < CHI2_255_AT_1E6, name
            tested += 1
    assert tested >= (10 if not private else 18)


@pytest.mark.parametrize("party", [0, 1])
def test_a_caller_s_key_says_nothing_of_its_token(party: int) -> None:
    """One party's keys of two tokens: bytes without control bits uniform and alike; three tests at 1e-6."""
    pooled = []
    for token in (0, 48_000):
        keys = np.frombuffer(b"".join(onehot.keys(token, 49_152)[party] for _ in range(60)), np.uint8).reshape(60, -1, 16)
        pooled.append(keys[:, :, 1:].reshape(-1))
        assert chi_square(pooled[-1]) < CHI2_255_AT_1E6
    assert two_sample(*pooled) < CHI2_255_AT_1E6


@pytest.mark.parametrize("mode", ["owner", "shared"])
def test_masked_weights_are_uniform_and_masked_anew_in_every_version(tiny_model: Path, tmp_path: Path, mode: masked.Mode) -> None:
    """Every byte plane of E, chi-square at 1e-6; two versions of the same weights differ in every tensor."""
    versions = []
    for name in "ab":
        party = masked.load_party(masked.prepare(tiny_model, tmp_path / name, mode), 0, core())
        versions.append(party.holding.masked)  # type: ignore[attr-defined]
    words = np.concatenate([e.reshape(-1) for e in versions[0].values()])
    for plane in range(8):
        assert chi_square(words.view(np.uint8)[plane::8]) < CHI2_255_AT_1E6
    for where, e in versions[0].items():
        assert (e != versions[1][where]).mean() > 0.999


def test_no_role_has_another_s_seeds(tiny_owner: Path, tiny_shared: Path) -> None:
    for config in (tiny_owner, tiny_shared):
        directory = read_config(config).prepared.parent
        seeds = {role: (directory / f"{role}.key").read_text() for role in ("party0", "party1", "dealer")}
        assert seeds["party0"] != seeds["party1"]
        assert all((directory / f"{role}.key").stat().st_mode & 0o077 == 0 for role in seeds)


def listed(column: int) -> set[str]:
    """Names in the document's table of openings: column 1 every mode, 2 private modes only."""
    rows = re.findall(r"^\| `([a-z ]+)` \| [^|]+ \| (all|private) \|", DOCUMENT.read_text(), re.M)
    return {name for name, modes in rows if column == 2 or modes == "all"}


def test_opened_names_are_the_documented_ones(tiny_each: Path) -> None:
    pair = run(tiny_each, [7, 8, 9])
    assert set(pair.ledgers[0].opened) == listed(1 if pair.mode == "public" else 2)
    assert pair.ledgers[0].opened == pair.ledgers[1].opened


def test_rounds(tiny_each: Path) -> None:
    """Eighteen a layer; with private weights twenty-two, one for the embedding, and norm, head and tournament for the answer."""
    pair = run(tiny_each, [7, 8])
    passes, layers, matches = 2, pair.shape.layers, (pair.shape.vocab - 1).bit_length()
    expected = 18 * layers if pair.mode == "public" else 22 * layers + 1 + 4 + 1 + matches + 1
    assert pair.ledgers[0].rounds == passes * expected


def test_logits_match_the_plain_model(tiny_each: Path) -> None:
    model = read_config(tiny_each).model
    weights, pair = read_weights(model), Pair(tiny_each)
    prefix = pair.recipe.prefix_tokens
    for public, tokens in ((1, [prefix[0], *range(7, 37)]), (len(prefix), [*prefix, *range(7, 37)])):
        session, split = pair.session(public), public + 11
        got = np.concatenate([session.logits(tokens[public:split]), session.logits(tokens[split:])])
        reference = plain.logits(pair.shape, weights, plain.forward(pair.shape, weights, np.array(tokens))[0])[public:]
        assert np.abs(got - reference).max() < 0.1
        assert (got.argmax(-1) == reference.argmax(-1)).all()
