"""Accuracy against epsilon for each mechanism on one task, by the real model: the privacy-utility curve.

The task has one token to answer (`reviews`), so that epsilon a token is epsilon a response. `token` draws it from all 49,151 tokens, by
the exponential mechanism and by randomised response on the argmax; `structured` noises a boolean leaf of the model's own answer;
`ensemble` asks eight groups of records at once (unit: one record, not the request: its axis means something else). Chance is 0.5 for
the structured leaf and 1/49,151 for a free token.
"""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

from bench.dp.client import MODEL, PrivateClient
from bench.dp.reviews import EXAMPLES, REVIEWS, prompt, word
from gateway.dp.loss import per_token
from gateway.dp.structured import release
from gateway.dp.upstream import dp_sampling_params, new_nonce, private_sampling
from policies.dp import EnsembleRule, StructuredRule, TokenRule

EPSILONS = (0.1, 1.0, 3.0, 6.0, 10.0, 14.0, 20.0, 30.0, 50.0, 100.0)
CLIP = 15.0
MAX_EXPONENTIAL, MAX_ARGMAX = 60.0, 30.0  # what policies accept
GROUPS = 8
ENSEMBLE_CLIP, CROSSTALK = 8.0, 0.1
PLOT = Path(__file__).parents[2] / "docs" / "benchmarks" / "dp-curve.svg"


async def run(url: str, quick: bool) -> dict[str, Any]:
    """All four curves."""
    async with PrivateClient(url) as client:
        said = await asyncio.gather(*(client.plain({"prompt": prompt(text), "max_tokens": 1, "temperature": 0}) for text, _ in REVIEWS))
        truth = [positive for _, positive in REVIEWS]
        greedy = [_is(answer, right) for answer, right in zip(said, truth, strict=True)]
        clean = sum(greedy) / len(greedy)
        print(f"greedy accuracy {clean:.3f} on {len(REVIEWS)} reviews", flush=True)
        curves: dict[str, list[tuple[float, float]]] = {}
        for name in ("structured", "exponential", "argmax", "ensemble"):
            if name == "structured":
                curves[name] = _structured(greedy, truth)
            elif name == "ensemble":
                curves[name] = await _ensembles(client, quick)
            else:
                curves[name] = await _tokens(client, name, quick)
            print(f"{name:12}", "  ".join(f"{e:g}: {a:.2f}" for e, a in curves[name]), flush=True)
            _plot(curves, clean)
    return {"task": "sentiment, 16 reviews, first token", "quick": quick, "greedy": clean, "curves": curves}


def _is(answer: dict[str, Any], positive: bool) -> bool:
    return str(answer["choices"][0]["text"]).strip() == word(positive)


async def _tokens(client: PrivateClient, selection: str, quick: bool) -> list[tuple[float, float]]:
    points = []
    for epsilon in EPSILONS:
        if epsilon > (MAX_ARGMAX if selection == "argmax" else MAX_EXPONENTIAL):
            continue
        rule = (
            TokenRule(kind="token", selection="argmax", epsilon_per_token=epsilon, max_tokens=1)
            if selection == "argmax"
            else TokenRule(kind="token", clip=CLIP, temperature=2 * CLIP / epsilon, max_tokens=1)
        )
        trials = REVIEWS if quick else REVIEWS * 4
        answers = await asyncio.gather(*(client.token(rule, prompt(text), 1) for text, _ in trials))
        points.append((epsilon, sum(_is(a, right) for a, (_, right) in zip(answers, trials, strict=True)) / len(trials)))
    return points


def _structured(greedy: list[bool], truth: list[bool]) -> list[tuple[float, float]]:
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
        points.append((epsilon, right / trials))
    return points


async def _ensembles(client: PrivateClient, quick: bool) -> list[tuple[float, float]]:
    """Eight groups see two reviews of one kind each; the answer is the kind. Epsilon a token, unit one record."""
    points = []
    for epsilon in (0.3, 1.0, 2.0, 4.0, 8.0):
        right = trials = 0
        rule = _ensemble(per_token(_ensemble(1.0)).epsilon / epsilon)
        for trial in range(6 if quick else 24):
            positive = trial % 2 == 0
            records = [text for text, kind in (*REVIEWS, *EXAMPLES) if kind == positive]
            answer = await _one(client, rule, [prompt(records[(g + trial) % len(records)]) for g in range(GROUPS)])
            right += answer.strip() == word(positive)
            trials += 1
        points.append((epsilon, right / trials))
    return points


def _ensemble(temperature: float) -> EnsembleRule:
    return EnsembleRule(kind="ensemble", groups=GROUPS, clip=ENSEMBLE_CLIP, temperature=temperature, crosstalk=CROSSTALK, max_tokens=1)


async def _one(client: PrivateClient, rule: EnsembleRule, prompts: list[str]) -> str:
    """One shared draw, met as `gateway.backends.private_vllm` does it."""
    for _ in range(12):
        params = dp_sampling_params(private_sampling(rule, client.vocabulary, new_nonce()), 1)
        carrier = asyncio.create_task(client.plain({"prompt": "1", "max_tokens": 3, "temperature": 0, "ignore_eos": True}))
        await asyncio.sleep(0.02)
        answer = await client.plain({"prompt": prompts, **params, "model": MODEL})
        await carrier
        if all(choice["stop_reason"] != client.vocabulary - 1 for choice in answer["choices"]):
            return str(answer["choices"][0]["text"])
    raise RuntimeError("the groups never met in one step")


def _plot(curves: dict[str, list[tuple[float, float]]], clean: float) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2))
    names = {
        "exponential": "token, exponential mechanism (unit: request)",
        "argmax": "token, randomised response on the argmax (unit: request)",
        "structured": "structured, one boolean leaf (unit: request)",
        "ensemble": f"ensemble of {GROUPS} (unit: one record)",
    }
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=names[name])
    axes.axhline(clean, color="grey", linestyle=":", label="without privacy")
    axes.set_xscale("log")
    axes.set_xlabel("epsilon per response")
    axes.set_ylabel("accuracy")
    axes.set_ylim(-0.03, 1.05)
    axes.legend(fontsize=7)
    axes.set_title(
        f"SmolLM2-135M, {len(REVIEWS)} reviews; a free token at chance is 1/49,151 (ln 49,150 = {math.log(49_150):.1f})", fontsize=8
    )
    figure.tight_layout()
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PLOT)
