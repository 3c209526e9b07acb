"""The processor for vLLM's V1 model runner (`vllm.v1.sample.logits_processor`), a thin shell over `sampler`.

In this runner penalties, temperature, min-p, top-k and top-p run after the processor; a row with one finite logit leaves them
no choice. Start-up flag: `--logits-processors vllm_plugin.runner_v1:DpLogitsProcessor`.

Not covered: another custom processor that stands after this one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from vllm import SamplingParams
from vllm.config import VllmConfig
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from .agreement import among_ranks
from .request import PrivateSampling, from_xargs, validate
from .sampler import PrivateRow, PrivateSampler

INTERFACE = 1


class DpLogitsProcessor(LogitsProcessor):
    """Keeps, for each row of the persistent batch, the request's arguments and a reference to its running output tokens."""

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        self._sampler = PrivateSampler(INTERFACE, agree=among_ranks())
        self._rows: dict[int, tuple[PrivateSampling, Sequence[int]]] = {}

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Refuse wrong arguments in the front process. Raises ValueError."""
        validate(sampling_params)

    def is_argmax_invariant(self) -> bool:
        """False: the drawn token is rarely the argmax, so greedy rows need this processor too."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the rows as requests come, go and move."""
        process_dict_updates(self._rows, batch_update, self._new_row)

    @staticmethod
    def _new_row(
        params: SamplingParams, prompt_ids: list[int] | None, output_ids: list[int]
    ) -> tuple[PrivateSampling, Sequence[int]] | None:
        sampling = from_xargs(params.extra_args)
        return None if sampling is None else (sampling, output_ids)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Draw for the private rows, in place. `logits`: float32 [batch rows, vocabulary]."""
        if self._rows:
            rows = [PrivateRow(row, sampling, len(output)) for row, (sampling, output) in self._rows.items()]
            self._sampler.apply(logits, rows)
        return logits
