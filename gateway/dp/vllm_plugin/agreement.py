"""One draw for all tensor-parallel ranks, each of which runs the sampler over the same gathered logits.

vLLM relies on every rank choosing the same token by itself. Draws from the operating system differ, so rank 0's holds for all. The
ranks see the same rows in the same order, so each call here meets its fellow on every rank. Pipeline stages need none of it: only
the last one samples.

Not covered: ranks whose batches differ (vLLM itself would break on those).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

Agree = Callable[[list[int]], list[int]]


def alone(tokens: list[int]) -> list[int]:
    """The draw of a process that has no fellows."""
    return tokens


def among_ranks() -> Agree:
    """How the tensor-parallel ranks of this worker agree. To be called once vLLM has made its process groups."""
    # Here, because the gateway's own environment, where the sampler is tested, has no vLLM.
    from vllm.distributed.parallel_state import get_tp_group, model_parallel_is_initialized

    if not model_parallel_is_initialized() or get_tp_group().world_size == 1:
        return alone
    group = get_tp_group()
    return lambda tokens: cast("list[int]", group.broadcast_object(tokens, src=0))
