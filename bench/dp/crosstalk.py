"""How far one group's logits move when another group's prompt changes in the same batch, through rounding in shared kernels.

The rows of an ensemble are a batch; kernels may round a row differently in another batch. `crosstalk` of an ensemble rule has to be at
least what this measures (in logits, over the top 20 log-probabilities of the first token), for the same server and dtype.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from bench.dp.client import PrivateClient

GROUPS = 8
WORDS = (
    *("patient", "doctor", "fever", "cough", "mild", "severe", "pain", "left", "right", "knee"),
    *("heart", "acute", "history", "with", "and", "of", "the", "a", "night", "cold"),
)


def _text(source: random.Random, length: int) -> str:
    return " ".join(source.choice(WORDS) for _ in range(length))


async def run(url: str, quick: bool, keep: Callable[[dict[str, Any]], None]) -> None:
    """The largest change over trials in which one of eight prompts was replaced by one of another length."""
    source = random.Random(3)
    largest, trials = 0.0, 4 if quick else 16
    async with PrivateClient(url) as client:
        for trial in range(trials):
            shared = [f"{trial} " + _text(source, source.randrange(20, 120)) for _ in range(GROUPS - 1)]
            seen = []
            for length in (source.randrange(5, 40), source.randrange(60, 160)):
                prompts = [*shared, f"{trial} " + _text(source, length)]
                answer = await client.plain({"prompt": prompts, "max_tokens": 1, "temperature": 0, "logprobs": 20})
                choices = sorted(answer["choices"], key=lambda c: c["index"])
                seen.append([choice["logprobs"]["top_logprobs"][0] for choice in choices[:-1]])
            for first, second in zip(*seen, strict=True):
                largest = max(largest, *(abs(first[t] - second[t]) for t in first.keys() & second.keys()))
    print(f"crosstalk: at most {largest:.4f} logits over {trials} replaced prompts in a batch of {GROUPS}")
    keep({"largest_logits": largest, "trials": trials, "groups": GROUPS})
