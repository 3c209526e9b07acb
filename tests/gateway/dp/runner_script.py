"""Runs inside vLLM's environment: both processor classes against vLLM's own interfaces. Prints `ok` at the end."""

from types import SimpleNamespace

import numpy as np
import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate, MoveDirectionality
from vllm.v1.sample.logits_processor import LogitsProcessor as V1Interface
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as GpuInterface
from vllm_plugin import runner_gpu, runner_v1
from vllm_plugin.request import PrivateSampling

V, SENTINEL = 300, 299
SAMPLING = PrivateSampling(kind="exponential", sentinel=SENTINEL, clip=30.0, temperature=1.0)


def params(sampling=SAMPLING, **more):
    given = {
        "temperature": 0.0,
        "logit_bias": {SENTINEL: 100.0},
        "stop_token_ids": [SENTINEL],
        "extra_args": sampling.to_xargs(),
        "max_tokens": 4,
    }
    return SamplingParams(**(given | more))


def logits(rows):
    made = torch.zeros(rows, V)
    for row in range(rows):
        made[row, 10 + row] = 80.0
    made[:, SENTINEL] = 100.0
    return made


def forced(made, row):
    found = torch.isfinite(made[row]).nonzero().flatten().tolist()
    return found[0] if len(found) == 1 else None


def check_validation(cls):
    cls.validate_params(params())
    cls.validate_params(SamplingParams(temperature=1.0, logprobs=3))
    for wrong in ({"temperature": 1.0}, {"seed": 3}, {"logprobs": 1}, {"min_tokens": 2}, {"logit_bias": None}, {"repetition_penalty": 1.2}):
        try:
            cls.validate_params(params(**wrong))
        except ValueError:
            continue
        raise AssertionError(wrong)


def check_v1():
    assert issubclass(runner_v1.DpLogitsProcessor, V1Interface)
    processor = runner_v1.DpLogitsProcessor(None, torch.device("cpu"), False)
    assert not processor.is_argmax_invariant()
    plain = SamplingParams(temperature=1.0)
    processor.update_state(
        BatchUpdate(batch_size=3, removed=[], added=[(0, params(), [1], []), (1, plain, [1], []), (2, params(), [1], [])], moved=[])
    )
    made = processor.apply(logits(3))
    assert (forced(made, 0), forced(made, 1), forced(made, 2)) == (10, None, 12)
    # The request of row 0 ends, that of row 2 takes its place.
    processor.update_state(BatchUpdate(batch_size=2, removed=[0], added=[], moved=[(2, 0, MoveDirectionality.UNIDIRECTIONAL)]))
    made = processor.apply(logits(2))
    assert (forced(made, 0), forced(made, 1)) == (10, None)
    processor.update_state(BatchUpdate(batch_size=2, removed=[], added=[], moved=[(0, 1, MoveDirectionality.SWAP)]))
    made = processor.apply(logits(2))
    assert (forced(made, 0), forced(made, 1)) == (None, 11)


def check_gpu():
    assert issubclass(runner_gpu.DpLogitsProcessor, GpuInterface)
    config = SimpleNamespace(speculative_config=None)
    lengths = SimpleNamespace(np=np.array([2, 2, 2, 2]))
    processor = runner_gpu.DpLogitsProcessor(config, SimpleNamespace(prompt_len=lengths))
    assert processor.add_request(3, params())
    assert not processor.add_request(1, SamplingParams())

    def context(slots):
        return SimpleNamespace(idx_mapping_np=np.array(slots), seq_lens_upper_bound_np=np.full(len(slots), 2))

    made = processor.apply(logits(2), context([1, 3]))
    assert (forced(made, 0), forced(made, 1)) == (None, 11)
    assert not processor.add_request(3, SamplingParams())  # the slot is used again by a request that is not ours
    assert forced(processor.apply(logits(1), context([3])), 0) is None
    processor.add_request(3, params())
    try:
        processor.apply(logits(4), context([1, 3]))
    except RuntimeError:
        pass
    else:
        raise AssertionError("several rows a request")
    try:
        runner_gpu.DpLogitsProcessor(SimpleNamespace(speculative_config=object()), SimpleNamespace(prompt_len=lengths))
    except ValueError:
        return
    raise AssertionError("speculative decoding")


check_validation(runner_v1.DpLogitsProcessor)
check_validation(runner_gpu.DpLogitsProcessor)
check_v1()
check_gpu()
print("ok")
