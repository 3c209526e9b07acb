"""Processor time of one call of the sampler, on one thread and random logits: what it adds to a step, whatever else the machine does."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch

from bench.dp.speed import BATCHES, RULES
from gateway.dp.upstream import private_sampling
from gateway.dp.vllm_plugin.sampler import PrivateRow, PrivateSampler

VOCABULARY = 49_152
CALLS = 200


def run(quick: bool) -> dict[str, Any]:
    """Milliseconds, the median over calls, for each selection and batch size."""
    torch.set_num_threads(1)
    sampler, found = PrivateSampler(1), {}
    for selection, rule in RULES.items():
        sampling = private_sampling(rule, VOCABULARY)
        for size in BATCHES:
            fresh = torch.randn(size, VOCABULARY, generator=torch.Generator().manual_seed(1)) * 4
            rows = [PrivateRow(row, sampling, 0) for row in range(size)]
            work, times = torch.empty_like(fresh), []
            for _ in range(CALLS // 10 if quick else CALLS):
                work.copy_(fresh)
                begun = time.thread_time()
                sampler.apply(work, rows)
                times.append(time.thread_time() - begun)
            found[f"{selection}, batch {size}"] = 1e3 * statistics.median(times)
            print(f"{selection:12} batch {size}: {1e3 * statistics.median(times):.2f} ms of processor time", flush=True)
    return {"vocabulary": VOCABULARY, "milliseconds": found}
