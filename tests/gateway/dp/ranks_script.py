"""Runs inside vLLM's environment: two tensor-parallel ranks, each with its own randomness, must force the same tokens. Prints `ok`."""

import os
import sys
import tempfile

import torch
import torch.multiprocessing as processes
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.distributed.parallel_state import init_distributed_environment, initialize_model_parallel
from vllm_plugin import agreement
from vllm_plugin.request import PrivateSampling
from vllm_plugin.sampler import PrivateRow, PrivateSampler

RANKS, V, SENTINEL, STEPS = 2, 300, 299, 8
FLAT = PrivateSampling(
    kind="exponential", sentinel=SENTINEL, clip=0.001, temperature=1.0
)  # near uniform: ranks agree by chance once in 299
GROUP = PrivateSampling(kind="ensemble", sentinel=SENTINEL, clip=0.001, temperature=1.0, groups=2, ensemble="e" * 16)


def rank(number: int, meeting: str, folder: str) -> None:
    with set_current_vllm_config(VllmConfig()):
        init_distributed_environment(RANKS, number, f"file://{meeting}", number, "gloo")
        initialize_model_parallel(RANKS)
    agree = agreement.among_ranks()
    assert agree is not agreement.alone
    sampler = PrivateSampler(1, agree=agree)
    drawn = []
    for step in range(STEPS):
        logits = torch.zeros(4, V)
        sampler.apply(logits, [PrivateRow(r, FLAT if r < 2 else GROUP, step) for r in range(4)])
        drawn.append(logits.argmax(dim=-1).tolist())
    assert all(row[2] == row[3] for row in drawn)
    torch.save(drawn, os.path.join(folder, str(number)))


if __name__ == "__main__":
    assert agreement.among_ranks() is agreement.alone  # one process has no fellows
    with tempfile.TemporaryDirectory() as folder:
        processes.spawn(rank, (os.path.join(folder, "meeting"), folder), nprocs=RANKS)
        first, second = (torch.load(os.path.join(folder, str(number))) for number in range(RANKS))
    assert first == second, (first, second)
    assert len({tuple(row) for row in first}) > 1
    sys.stdout.write("ok\n")
