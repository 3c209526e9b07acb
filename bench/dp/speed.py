"""Tokens per second of vLLM with the processor drawing, beside the same server without: pairs of batches, in turn.

Both batches of a pair decode the same number of tokens from the same prompts (`ignore_eos` is not allowed on a private request, so a
pair in which either ended early is thrown away). Which comes first alternates, so that a busy machine slows both alike. The ratio is the
median over pairs, with a 95 % interval by the bootstrap. `sampler` measures the sampler by itself, which no busy machine disturbs.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from bench.dp.client import PrivateClient
from policies.dp import TokenRule

TOKENS = 32
BATCHES = (1, 8)
RULES = {
    "exponential": TokenRule(kind="token", clip=25.0, temperature=1.0, max_tokens=TOKENS),
    "argmax": TokenRule(kind="token", selection="argmax", epsilon_per_token=30.0, max_tokens=TOKENS),
}


async def run(url: str, quick: bool, keep: Callable[[dict[str, Any]], None]) -> None:
    """For each selection and batch size: tokens per second without and with, and their ratio; `keep` is given them as they come."""
    pairs = 4 if quick else 12
    results: dict[str, Any] = {}
    async with PrivateClient(url) as client:
        await _batch(client, None, "warm", 8)
        for selection, rule in RULES.items():
            for size in BATCHES:
                result = await _paired(client, rule, size, pairs)
                results[f"{selection}, batch {size}"] = result
                rates = f"plain {result['plain_tokens_per_s']:.1f} tokens/s, private {result['private_tokens_per_s']:.1f} tokens/s"
                print(f"{selection:12} batch {size}: {rates}, ratio {result['ratio']:.3f} {result['ratio_95']}", flush=True)
                keep({"tokens": TOKENS, "results": results})


async def _paired(client: PrivateClient, rule: TokenRule, size: int, pairs: int) -> dict[str, Any]:
    rates: dict[str, list[float]] = {"plain": [], "private": []}
    ratios: list[float] = []
    for turn in range(3 * pairs):
        if len(ratios) == pairs:
            break
        measured = {}
        for kind in ("plain", "private") if turn % 2 else ("private", "plain"):
            measured[kind] = await _batch(client, rule if kind == "private" else None, f"{size} {turn}", size)
        plain, private = measured["plain"], measured["private"]
        if plain is None or private is None:
            continue
        rates["plain"].append(plain)
        rates["private"].append(private)
        ratios.append(private / plain)
    if not ratios:
        raise RuntimeError("every pair ended early: nothing was measured")
    source = random.Random(1)
    resampled = sorted(statistics.median(source.choices(ratios, k=len(ratios))) for _ in range(2000))
    return {
        "plain_tokens_per_s": statistics.median(rates["plain"]),
        "private_tokens_per_s": statistics.median(rates["private"]),
        "ratio": statistics.median(ratios),
        "ratio_95": [round(resampled[50], 3), round(resampled[1949], 3)],
        "pairs": len(ratios),
    }


async def _batch(client: PrivateClient, rule: TokenRule | None, name: str, size: int) -> float | None:
    """Tokens per second of `size` requests at once; None where one of them ended before its last token."""
    prompts = [f"Story {name} {i}. Once upon a time there was" for i in range(size)]

    async def one(prompt: str) -> dict[str, Any]:
        if rule is None:
            return await client.plain({"prompt": prompt, "max_tokens": TOKENS, "temperature": 0})
        return await client.token(rule, prompt, TOKENS)

    begun = time.perf_counter()
    answers = await asyncio.gather(*(one(prompt) for prompt in prompts))
    seconds = time.perf_counter() - begun
    drawn = [answer["usage"]["completion_tokens"] for answer in answers]
    return sum(drawn) / seconds if all(count == TOKENS for count in drawn) else None
