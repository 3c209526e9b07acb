"""Perplexity under the clean model of texts drawn at epsilon per response: how much of the language is left.

Each answer is `TOKENS` tokens, so a token gets epsilon / TOKENS. `token` continues public beginnings (unit: the request); `ensemble` writes
one more review like the private ones (unit: one record). The clean model (the same weights in transformers, float32) scores the drawn
tokens after the same beginning, or after the ensembles' public examples. The figure is the geometric mean over trials. A `structured`
answer has no free text and no perplexity.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.dp.accuracy import ENSEMBLES
from bench.dp.client import PrivateClient
from bench.dp.reviews import BEGINNINGS, EXAMPLES, invented, records_of
from bench.dp.rules import EPSILONS, ensemble_rule, token_rule

TOKENS = 8
MODEL_DIR = Path(__file__).parents[2] / ".llmos" / "models" / "smollm2"
CURVES = ("exponential", "argmax", *ENSEMBLES)
Curve = list[tuple[float, float, int]]  # epsilon, perplexity, trials


class CleanModel:
    """The served weights, read by transformers."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)  # short texts; more threads would only wait for each other beside a busy server
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def mean_perplexity(self, drawn: list[tuple[str, list[int]]]) -> float:
        """The geometric mean over texts of e to the mean surprise (nats a token) of the drawn tokens after their context."""
        surprises = [self._surprise(context, tokens) for context, tokens in drawn]
        return math.exp(sum(surprises) / len(surprises))

    def _surprise(self, context: str, tokens: list[int]) -> float:
        before = self._tokenizer(context)["input_ids"]
        with torch.inference_mode():
            logits = self._model(torch.tensor([before + tokens])).logits[0, len(before) - 1 : -1]
        return float(torch.nn.functional.cross_entropy(logits, torch.tensor(tokens)))


async def run(url: str, quick: bool, only: Sequence[str], keep: Callable[[dict[str, Any]], None]) -> None:
    """The curves named by `only` (all: CURVES), and what the model writes without privacy. `keep` is given the result as it grows."""
    model = CleanModel(MODEL_DIR)
    async with PrivateClient(url) as client:
        clean = await _plainly(client, model, 2 if quick else 4)
        print("without privacy", "  ".join(f"{name}: {value:.1f}" for name, value in clean.items()), flush=True)
        curves: dict[str, Curve] = {}
        for name in only:
            if name in ENSEMBLES:
                curves[name] = await _ensembles(client, model, ENSEMBLES[name], 2 if quick else 6)
            else:
                curves[name] = await _tokens(client, model, name, 1 if quick else 2)
            _show(name, curves)
            keep({"tokens": TOKENS, "without_privacy": clean, "curves": curves})


def _show(name: str, curves: dict[str, Curve]) -> None:
    print(f"{name:14}", "  ".join(f"{e:g}: {p:.3g}" for e, p, _ in curves[name]), flush=True)


async def _plainly(client: PrivateClient, model: CleanModel, repeats: int) -> dict[str, float]:
    """Greedy decoding, and sampling at temperature 1."""
    found = {}
    for name, temperature in (("greedy", 0.0), ("sampled", 1.0)):
        body = {"max_tokens": TOKENS, "temperature": temperature, "return_token_ids": True}
        contexts = BEGINNINGS * (repeats if temperature else 1)
        answers = await asyncio.gather(*(client.plain({"prompt": context, "seed": i, **body}) for i, context in enumerate(contexts)))
        found[name] = model.mean_perplexity(_drawn(contexts, answers))
    return found


def _drawn(contexts: Sequence[str], answers: Sequence[dict[str, Any]]) -> list[tuple[str, list[int]]]:
    return [(context, answer["choices"][0]["token_ids"]) for context, answer in zip(contexts, answers, strict=True)]


async def _tokens(client: PrivateClient, model: CleanModel, selection: str, repeats: int) -> Curve:
    points = []
    contexts = BEGINNINGS * repeats
    for epsilon in EPSILONS:
        rule = token_rule(selection, epsilon, TOKENS)
        if rule is not None:
            answers = await asyncio.gather(*(client.token(rule, context, TOKENS) for context in contexts))
            points.append((epsilon, model.mean_perplexity(_drawn(contexts, answers)), len(contexts)))
    return points


async def _ensembles(client: PrivateClient, model: CleanModel, groups: int, trials: int) -> Curve:
    points = []
    context = invented(EXAMPLES[0][0])
    for epsilon in EPSILONS:
        rule = ensemble_rule(groups, epsilon, TOKENS)
        if rule is None:
            continue
        answers = []
        for trial in range(trials):
            records = records_of(trial % 2 == 0)
            prompts = [invented(records[(g + trial) % len(records)]) for g in range(groups)]
            answers.append(await client.ensemble(rule, prompts, TOKENS))
        points.append((epsilon, model.mean_perplexity(_drawn([context] * trials, answers)), trials))
    return points
