"""Tokens per second of vLLM with the processor drawing, beside the same server without: pairs of requests, in turn.

Both requests of a pair decode the same number of tokens from the same prompt; which comes first alternates, so that a busy machine
slows both alike. The ratio is that of the summed times.
"""

from __future__ import annotations

import time
from typing import Any

from bench.dp.client import PrivateClient
from policies.dp import TokenRule

TOKENS = 32
RULE = TokenRule(kind="token", clip=10.0, temperature=1.0, max_tokens=TOKENS)


async def run(url: str, quick: bool) -> dict[str, Any]:
    """The ratio, and the tokens per second of each."""
    pairs = 6 if quick else 24
    spent = {"plain": 0.0, "private": 0.0}
    drawn = {"plain": 0, "private": 0}
    async with PrivateClient(url) as client:
        await client.plain({"prompt": "Once upon a time", "max_tokens": TOKENS, "temperature": 0})
        for pair in range(pairs):
            prompt = f"Story number {pair}. Once upon a time"
            for kind in ("plain", "private") if pair % 2 else ("private", "plain"):
                begun = time.perf_counter()
                if kind == "plain":
                    answer = await client.plain({"prompt": prompt, "max_tokens": TOKENS, "temperature": 0})
                else:
                    answer = await client.token(RULE, prompt, TOKENS)
                spent[kind] += time.perf_counter() - begun
                drawn[kind] += answer["usage"]["completion_tokens"]
    rates = {kind: drawn[kind] / spent[kind] for kind in spent}
    ratio = rates["private"] / rates["plain"]
    print(f"plain {rates['plain']:.1f} tokens/s, private {rates['private']:.1f} tokens/s, ratio {ratio:.3f} ({pairs} pairs)")
    return {"tokens_per_s": rates, "ratio": ratio, "pairs": pairs}
