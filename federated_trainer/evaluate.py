"""The gate: a candidate is served only where it is as good as the served version, and tells no secret.

Measured on the coordinator's own held-out file: perplexity and the share of answer tokens that the model would choose
(per domain where lines name one); the exposure of planted canaries (Carlini et al. 2019, by rank among equally likely
strangers); and a probe that counts e-mail addresses, telephone and account numbers in greedy answers.
Not covered: a leak that no canary or probe asks for. Differential privacy bounds those; the gate only looks.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from federated_trainer.adapter import AdaptedModel
from federated_trainer.errors import BadDataset
from federated_trainer.examples import IGNORED, Row, batch_of, read_examples, row_of
from federated_trainer.round import Judgement
from federated_trainer.settings import GateSettings
from federated_trainer.weights import Vector

_PERSONAL = re.compile(r"[\w.+-]+@[\w-]+\.\w+|\+?\d[\d ()-]{7,}\d|\b[A-Z]{2}\d{2}(?: ?\w{4}){3,}")
_ROWS_AT_ONCE = 12


@dataclass(frozen=True, slots=True)
class Canary:
    """A planted sentence: `template` with one {} for `secret`, a string of digits that was drawn at random."""

    template: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Rows by domain; prompts (as token ids) for the leak probe; canaries."""

    rows: Mapping[str, Sequence[Row]] = field(repr=False)
    prompts: Sequence[tuple[int, ...]] = field(repr=False)
    canaries: Sequence[Canary] = field(default=(), repr=False)


def read_held_out(path: Path, model: AdaptedModel, max_tokens: int, prompts_per_domain: int = 2) -> HeldOut:
    """Lines as in a training set; a line may name its "domain". `canaries.json` beside it, if there, lists canaries. Raises BadDataset."""
    examples = read_examples(path)
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    domains = [str(json.loads(line).get("domain", "all")) for line in lines]
    rows: dict[str, list[Row]] = {}
    prompts: dict[str, list[tuple[int, ...]]] = {}
    for domain, example in zip(domains, examples, strict=True):
        row = row_of(example, model.tokenizer, max_tokens)
        rows.setdefault(domain, []).append(row)
        begin = next((i for i, label in enumerate(row.labels) if label != IGNORED), len(row.labels))
        prompts.setdefault(domain, []).append(row.token_ids[:begin])
    canary_file = path.with_name("canaries.json")
    try:
        canaries = [Canary(c["template"], c["secret"]) for c in json.loads(canary_file.read_text())] if canary_file.exists() else []
    except (ValueError, KeyError, TypeError) as error:
        raise BadDataset("canaries.json needs a list of {template, secret}.") from error
    return HeldOut(rows, [p for group in prompts.values() for p in group[:prompts_per_domain]], canaries)


class HeldOutGate:
    """`Gate` of round.py: judges candidates against `served`, measured by `serve`."""

    def __init__(self, model: AdaptedModel, held_out: HeldOut, settings: GateSettings, served: Vector) -> None:
        self._model, self._held_out, self._settings = model, held_out, settings
        self._served_weights = served
        self._served = self.measure(served)

    @property
    def served_measures(self) -> Mapping[str, float]:
        return self._served

    def judge(self, candidate: Vector) -> Judgement:
        """Compare; a candidate that passes becomes what the next one is compared with."""
        measures = self.measure(candidate)
        norm = float(np.linalg.norm(candidate.astype(np.float64) - self._served_weights.astype(np.float64)))
        reasons = tuple(compare(measures, self._served, self._settings, norm))
        if not reasons:
            self._served, self._served_weights = measures, candidate
        return Judgement({**measures, "update_norm": round(norm, 4)}, reasons)

    def measure(self, weights: Vector) -> dict[str, float]:
        """Perplexity and token accuracy, overall and by domain, canary exposure in bits, personal strings in answers."""
        model = self._model
        model.load_vector(weights)
        totals = np.zeros(3)
        measures: dict[str, float] = {}
        with torch.no_grad():
            for domain, rows in self._held_out.rows.items():
                sums = _token_sums(model, rows)
                totals += sums
                measures[f"perplexity.{domain}"] = _perplexity(sums)
                measures[f"accuracy.{domain}"] = sums[1] / sums[2]
            measures["perplexity"], measures["accuracy"] = _perplexity(totals), totals[1] / totals[2]
            measures["canary_exposure_bits"] = max(
                (exposure_bits(model, canary, self._settings.canary_strangers) for canary in self._held_out.canaries), default=0.0
            )
            measures["pii_leaks"] = float(_count_leaks(model, self._held_out.prompts))
        return {name: round(float(value), 4) for name, value in measures.items()}


def compare(candidate: Mapping[str, float], served: Mapping[str, float], settings: GateSettings, update_norm: float) -> list[str]:
    """One sentence for each check that failed. A measure that is not a number fails."""
    reasons = []
    for name in sorted(name for name in served if name.startswith("perplexity")):
        limit = served[name] * (1 + settings.perplexity_margin)
        if not candidate[name] <= limit:
            reasons.append(f"Its {name} is {candidate[name]:.2f}; the limit is {limit:.2f}.")
    limit = served["accuracy"] - settings.task_margin
    if not candidate["accuracy"] >= limit:
        reasons.append(f"Its accuracy is {candidate['accuracy']:.3f}; the limit is {limit:.3f}.")
    if not candidate["canary_exposure_bits"] <= settings.canary_exposure_bits:
        reasons.append(
            f"A planted canary is exposed by {candidate['canary_exposure_bits']:.1f} bits; the limit is {settings.canary_exposure_bits}."
        )
    if not candidate["pii_leaks"] <= max(served["pii_leaks"], settings.pii_leaks):
        reasons.append(
            f"Its answers hold {candidate['pii_leaks']:.0f} personal strings; the served version's hold {served['pii_leaks']:.0f}."
        )
    if settings.update_norm is not None and not update_norm <= settings.update_norm:
        reasons.append(f"The update's norm is {update_norm:.2f}; the limit is {settings.update_norm}.")
    return reasons


def _perplexity(sums: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """exp of the mean loss; infinite rather than an overflow."""
    mean = sums[0] / sums[2]
    return math.exp(mean) if mean < 700 else math.inf


def _token_sums(model: AdaptedModel, rows: Sequence[Row]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """[3] float64: sum of losses, count of right tokens, count of labelled tokens."""
    sums = np.zeros(3)
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        ids, mask, labels = batch_of(rows[begin : begin + _ROWS_AT_ONCE], model.tokenizer.pad_token_id or 0)
        hidden = model.decoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        row, position = torch.nonzero(labels[:, 1:] != IGNORED, as_tuple=True)
        targets = labels[:, 1:][row, position]
        logits = model.head(hidden[row, position])
        loss = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
        sums += [float(loss), float((logits.argmax(dim=1) == targets).sum()), len(targets)]
    return sums


def exposure_bits(model: AdaptedModel, canary: Canary, strangers: int = 255) -> float:
    """log2(strangers + 1) − log2(rank): 0 to 8 bits; how far the planted secret stands out among secrets drawn alike.

    The strangers are a fixed arithmetic sequence modulo a power of ten; the secret was drawn uniformly, so its rank under
    a model that never saw it is uniform, and exposure over k bits has chance 2^-k.
    """
    digits = len(canary.secret)
    step = 7_919 * 10 ** max(0, digits - 5) + 1
    others = [str((int(canary.secret) + i * step) % 10**digits).zfill(digits) for i in range(1, strangers + 1)]
    texts = [canary.template.format(secret) for secret in (canary.secret, *others)]
    losses: list[float] = []
    for begin in range(0, len(texts), 32):
        encoded = [tuple(model.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts[begin : begin + 32]]
        ids, mask, labels = batch_of([Row(tokens, tokens) for tokens in encoded], model.tokenizer.pad_token_id or 0)
        logits = model.head(model.decoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state)[:, :-1]
        each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels[:, 1:], ignore_index=IGNORED, reduction="none")
        losses += each.sum(dim=1).tolist()
    rank = 1 + sum(loss < losses[0] for loss in losses[1:])
    return math.log2(len(texts)) - math.log2(rank)


def _count_leaks(model: AdaptedModel, prompts: Sequence[tuple[int, ...]], new_tokens: int = 24) -> int:
    """Personal-looking strings in the greedy continuations of the prompts; left-padded so that all continue at once."""
    if not prompts:
        return 0
    pad, longest = model.tokenizer.pad_token_id or 0, max(map(len, prompts))
    ids = torch.tensor([[pad] * (longest - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    answers = model.module.generate(input_ids=ids, attention_mask=mask, max_new_tokens=new_tokens, do_sample=False, pad_token_id=pad)
    texts = model.tokenizer.batch_decode(answers[:, longest:], skip_special_tokens=True)
    return sum(len(_PERSONAL.findall(text)) for text in texts)
