"""The sampler serves a mixed batch: private rows are drawn, others untouched, ensembles pooled only when all rows are in step."""

import random

import torch

from gateway.dp.vllm_plugin.handshake import LENGTH, ProvenModel, read_proof
from gateway.dp.vllm_plugin.request import PrivateSampling
from gateway.dp.vllm_plugin.sampler import PrivateRow, PrivateSampler

VOCABULARY = 300
SENTINEL = VOCABULARY - 1


def sampler(seed: int = 1) -> PrivateSampler:
    return PrivateSampler(1, random.Random(seed).randrange)


def forced(logits: torch.Tensor, row: int) -> int:
    finite = torch.isfinite(logits[row]).nonzero().flatten().tolist()
    assert len(finite) == 1
    return int(finite[0])


def ensemble(groups: int = 3, **changes: object) -> PrivateSampling:
    given: dict[str, object] = {"clip": 5.0, "temperature": 0.5, "groups": groups, "ensemble": "e" * 16} | changes
    return PrivateSampling(kind="ensemble", sentinel=SENTINEL, **given)  # type: ignore[arg-type]


def test_private_rows_are_drawn_and_others_left_alone() -> None:
    logits = torch.randn(3, VOCABULARY)
    before = logits.clone()
    sharp = PrivateSampling(kind="exponential", sentinel=SENTINEL, clip=30.0, temperature=1.0)
    answer = PrivateSampling(kind="argmax", sentinel=SENTINEL, epsilon=25.0)
    logits[0, 7] = 90.0
    logits[2, 9] = 90.0
    logits[:, SENTINEL] = 100.0  # the trap's bias
    sampler().apply(logits, [PrivateRow(0, sharp, 0), PrivateRow(2, answer, 4)])
    assert forced(logits, 0) == 7
    assert forced(logits, 2) == 9
    assert torch.equal(logits[1, :SENTINEL], before[1, :SENTINEL])


def test_the_sentinel_is_never_drawn() -> None:
    flat = PrivateSampling(kind="exponential", sentinel=SENTINEL, clip=0.001, temperature=1.0)
    source = sampler(3)
    for _ in range(2000):
        logits = torch.zeros(1, VOCABULARY)
        logits[0, SENTINEL] = 100.0
        source.apply(logits, [PrivateRow(0, flat, 0)])
        assert forced(logits, 0) != SENTINEL


def test_a_row_made_for_another_vocabulary_ends_at_its_sentinel() -> None:
    wrong = PrivateSampling(kind="exponential", sentinel=SENTINEL, clip=1.0, temperature=1.0, vocabulary=VOCABULARY + 1)
    logits = torch.zeros(1, VOCABULARY)
    sampler().apply(logits, [PrivateRow(0, wrong, 0)])
    assert forced(logits, 0) == SENTINEL


def test_the_handshake_proves_vocabulary_and_interface() -> None:
    hello = PrivateSampling(kind="handshake", sentinel=-1, nonce="n" * 16)
    ids = []
    for step in range(LENGTH):
        logits = torch.randn(1, VOCABULARY)
        sampler().apply(logits, [PrivateRow(0, hello, step)])
        ids.append(forced(logits, 0))
    assert read_proof("n" * 16, ids) == ProvenModel(VOCABULARY, 1)
    assert read_proof("m" * 16, ids) is None
    assert read_proof("n" * 16, ids[:-1]) is None


def test_an_ensemble_shares_one_draw_from_the_mean() -> None:
    logits = torch.zeros(3, VOCABULARY)
    logits[0, 5] = logits[1, 5] = 5.0  # two of three groups want 5
    logits[2, 6] = 5.0
    source = sampler(2)
    counts = {5: 0, 6: 0}
    for _ in range(300):
        work = logits.clone()
        source.apply(work, [PrivateRow(r, ensemble(), 0) for r in range(3)])
        token = forced(work, 0)
        assert forced(work, 1) == forced(work, 2) == token
        if token in counts:
            counts[token] += 1
    # Means are -5/3 and -10/3 at T = 0.5: 5 is drawn e^(10/3) = 28 times as often as 6.
    assert counts[5] > 10 * max(1, counts[6])


def test_an_ensemble_out_of_step_ends_at_the_sentinel() -> None:
    rows = {
        "missing": [PrivateRow(r, ensemble(), 0) for r in range(2)],
        "behind": [PrivateRow(r, ensemble(), 1 if r else 0) for r in range(3)],
        "other parameters": [PrivateRow(r, ensemble(clip=5.0 - r), 0) for r in range(3)],
        "one too many": [PrivateRow(r, ensemble(groups=2), 0) for r in range(3)],
    }
    for members in rows.values():
        logits = torch.randn(3, VOCABULARY)
        sampler().apply(logits, members)
        assert [forced(logits, row.row) for row in members] == [SENTINEL] * len(members)
