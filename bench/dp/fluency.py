"""Perplexity under the clean model of texts drawn at epsilon per response: how much of the language is left.

Each answer is `TOKENS` tokens, so a token gets epsilon / TOKENS. `token` continues public beginnings (unit: the request); `ensemble` writes
one more review like the private ones (unit: one record). The clean model scores the drawn tokens after the same beginning, or after
the ensembles' public examples. The figure is the geometric mean over trials. A `structured` answer has no free text and no perplexity.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

from bench.dp.accuracy import GROUPS
from bench.dp.client import PrivateClient
from bench.dp.reviews import BEGINNINGS, EXAMPLES, invented, records_of
from bench.dp.rules import EPSILONS, ensemble_rule, token_rule

TOKENS = 8
Curve = list[tuple[float, float, int]]  # epsilon, perplexity, trials


async def run(url: str, quick: bool) -> dict[str, Any]:
    """All curves, and the perplexity of what the model writes without privacy."""
    async with PrivateClient(url) as client:
        clean = await _plainly(client, 2 if quick else 4)
        print("without privacy", "  ".join(f"{name}: {value:.1f}" for name, value in clean.items()), flush=True)
        curves: dict[str, Curve] = {}
        for selection in ("exponential", "argmax"):
            curves[selection] = await _tokens(client, selection, 1 if quick else 3)
            _show(selection, curves)
        for groups in GROUPS:
            name = f"ensemble of {groups}"
            curves[name] = await _ensembles(client, groups, 2 if quick else 8)
            _show(name, curves)
    return {"tokens": TOKENS, "quick": quick, "without_privacy": clean, "curves": curves}


def _show(name: str, curves: dict[str, Curve]) -> None:
    print(f"{name:14}", "  ".join(f"{e:g}: {p:.3g}" for e, p, _ in curves[name]), flush=True)


async def _plainly(client: PrivateClient, repeats: int) -> dict[str, float]:
    """Greedy decoding, and sampling at temperature 1."""
    found = {}
    for name, temperature in (("greedy", 0.0), ("sampled", 1.0)):
        body = {"max_tokens": TOKENS, "temperature": temperature, "return_token_ids": True}
        contexts = BEGINNINGS * (repeats if temperature else 1)
        answers = await asyncio.gather(*(client.plain({"prompt": context, "seed": i, **body}) for i, context in enumerate(contexts)))
        found[name] = await _mean(client, list(zip(contexts, answers, strict=True)))
    return found


async def _mean(client: PrivateClient, drawn: list[tuple[str, dict[str, Any]]]) -> float:
    scores = await asyncio.gather(*(client.perplexity(context, answer["choices"][0]["token_ids"]) for context, answer in drawn))
    return math.exp(sum(map(math.log, scores)) / len(scores))


async def _tokens(client: PrivateClient, selection: str, repeats: int) -> Curve:
    points = []
    contexts = BEGINNINGS * repeats
    for epsilon in EPSILONS:
        rule = token_rule(selection, epsilon, TOKENS)
        if rule is not None:
            answers = await asyncio.gather(*(client.token(rule, context, TOKENS) for context in contexts))
            points.append((epsilon, await _mean(client, list(zip(contexts, answers, strict=True))), len(contexts)))
    return points


async def _ensembles(client: PrivateClient, groups: int, trials: int) -> Curve:
    points = []
    context = invented(EXAMPLES[0][0])
    for epsilon in EPSILONS:
        rule = ensemble_rule(groups, epsilon, TOKENS)
        if rule is None:
            continue
        drawn = []
        for trial in range(trials):
            records = records_of(trial % 2 == 0)
            prompts = [invented(records[(g + trial) % len(records)]) for g in range(groups)]
            drawn.append((context, await client.ensemble(rule, prompts, TOKENS)))
        points.append((epsilon, await _mean(client, drawn), trials))
    return points
