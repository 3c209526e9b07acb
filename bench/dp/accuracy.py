"""Accuracy against epsilon for each mechanism on one task, by the real model.

The task has one token to answer (`reviews`), so that epsilon a token is epsilon a response. `token` draws it from all 49,151 tokens, by
the exponential mechanism and by randomised response on the argmax; `structured` noises a boolean leaf of the model's own answer;
`ensemble` asks s groups of records at once (unit: one record, not the request: its axis means something else). Chance is 0.5 for
the structured leaf and 1/49,151 for a free token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from bench.dp.client import PrivateClient
from bench.dp.reviews import REVIEWS, prompt, records_of, word
from bench.dp.rules import EPSILONS, ensemble_rule, token_rule
from gateway.dp.structured import release
from policies.dp import StructuredRule

Curve = list[tuple[float, float, int]]  # epsilon, accuracy, trials
ENSEMBLES = {"ensemble of 8": 8, "ensemble of 16": 16}
CURVES = ("structured", "exponential", "argmax", *ENSEMBLES)


async def run(url: str, quick: bool, only: Sequence[str], keep: Callable[[dict[str, Any]], None]) -> None:
    """The curves named by `only` (all of them: CURVES), and the accuracy of greedy decoding. `keep` is given the result as it grows."""
    async with PrivateClient(url) as client:
        said = await asyncio.gather(*(client.plain({"prompt": prompt(text), "max_tokens": 1, "temperature": 0}) for text, _ in REVIEWS))
        truth = [positive for _, positive in REVIEWS]
        greedy = [_is(answer, right) for answer, right in zip(said, truth, strict=True)]
        clean = sum(greedy) / len(greedy)
        print(f"greedy accuracy {clean:.3f} on {len(REVIEWS)} reviews", flush=True)
        curves: dict[str, Curve] = {}
        for name in only:
            if name == "structured":
                curves[name] = _structured(greedy, truth)
            elif name in ENSEMBLES:
                curves[name] = await _ensembles(client, ENSEMBLES[name], 6 if quick else 12)
            else:
                curves[name] = await _tokens(client, name, 1 if quick else 2)
            _show(name, curves)
            keep({"task": f"sentiment, {len(REVIEWS)} reviews, first token", "greedy": clean, "curves": curves})


def _show(name: str, curves: dict[str, Curve]) -> None:
    print(f"{name:14}", "  ".join(f"{e:g}: {a:.2f}" for e, a, _ in curves[name]), flush=True)


def _is(answer: dict[str, Any], positive: bool) -> bool:
    return str(answer["choices"][0]["text"]).strip() == word(positive)


async def _tokens(client: PrivateClient, selection: str, repeats: int) -> Curve:
    points = []
    trials = REVIEWS * repeats
    for epsilon in EPSILONS:
        rule = token_rule(selection, epsilon, 1)
        if rule is not None:
            answers = await asyncio.gather(*(client.token(rule, prompt(text), 1) for text, _ in trials))
            right = sum(_is(answer, kind) for answer, (_, kind) in zip(answers, trials, strict=True))
            points.append((epsilon, right / len(trials), len(trials)))
    return points


def _structured(greedy: list[bool], truth: list[bool]) -> Curve:
    points = []
    for epsilon in EPSILONS:
        leaf = {"type": "boolean", "x-dp": {"mechanism": "randomized_response", "epsilon": epsilon}}
        rule = StructuredRule(kind="structured", json_schema={"type": "object", "properties": {"positive": leaf}})
        right = trials = 0
        for was_right, positive in zip(greedy, truth, strict=True):
            answer = '{"positive": %s}' % ("true" if positive == was_right else "false")
            for _ in range(60):
                right += release(rule, answer)["positive"] == positive
                trials += 1
        points.append((epsilon, right / trials, trials))
    return points


async def _ensembles(client: PrivateClient, groups: int, trials: int) -> Curve:
    """Each group sees one private review of the same kind; the answer is the kind."""
    points = []
    for epsilon in EPSILONS:
        rule = ensemble_rule(groups, epsilon, 1)
        if rule is None:
            continue
        right = 0
        for trial in range(trials):
            positive = trial % 2 == 0
            records = records_of(positive)
            prompts = [prompt(records[(g + trial) % len(records)]) for g in range(groups)]
            right += _is(await client.ensemble(rule, prompts, 1), positive)
        points.append((epsilon, right / trials, trials))
    return points
