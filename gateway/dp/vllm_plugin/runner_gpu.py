"""The processor for vLLM's newer GPU model runner (`vllm.v1.worker.gpu.sample.logits_processor`), over the same `sampler`.

This runner refuses V1 plugins; it calls processors after bias, penalties, bad words and grammar, before temperature, min-p,
top-k and top-p. Start-up flag: `--logits-processors vllm_plugin.runner_gpu:DpLogitsProcessor`.

Not covered: speculative decoding (a request with several rows is refused here), a thinking budget (forced after this stage;
`request.validate` refuses private requests that ask for one).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext, LogitsProcessor, LogitsProcRequestState

from .agreement import among_ranks
from .request import PrivateSampling, from_xargs, validate

if TYPE_CHECKING:
    import torch
    from vllm import SamplingParams
    from vllm.config import VllmConfig

INTERFACE = 2


class DpLogitsProcessor(LogitsProcessor):
    """Keeps the arguments of each request slot; the slot's length tells how many tokens the request has so far."""

    def __init__(self, vllm_config: VllmConfig, req_states: LogitsProcRequestState) -> None:
        # Here, because the front process imports this module only to check arguments, and stays free of torch.
        from .sampler import PrivateRow, PrivateSampler

        if vllm_config.speculative_config is not None:
            raise ValueError("private sampling can't run under speculative decoding; start vLLM without it")
        self._row = PrivateRow
        self._sampler = PrivateSampler(INTERFACE, agree=among_ranks())
        self._prompt_len = req_states.prompt_len
        self._slots: dict[int, PrivateSampling] = {}

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Refuse wrong arguments in the front process. Raises ValueError."""
        validate(sampling_params)

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        """Take over a slot; whether this processor changes its logits."""
        sampling = from_xargs(sampling_params.extra_args)
        if sampling is None:
            self._slots.pop(req_idx, None)
            return False
        self._slots[req_idx] = sampling
        return True

    def apply(self, logits: torch.Tensor, ctx: LogitsContext) -> torch.Tensor:
        """Draw for the private rows, in place. `logits`: float32 [logits rows, vocabulary]; one row a request."""
        slots = [int(slot) for slot in ctx.idx_mapping_np]
        if any(slot in self._slots for slot in slots):
            if logits.shape[0] != len(slots):
                raise RuntimeError("a request owns several rows: private sampling can't run under speculative decoding")
            rows = [
                self._row(row, self._slots[slot], int(ctx.seq_lens_upper_bound_np[row] - self._prompt_len.np[slot]))
                for row, slot in enumerate(slots)
                if slot in self._slots
            ]
            self._sampler.apply(logits, rows)
        return logits
