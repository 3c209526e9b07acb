"""`make bench-pii`: recall, precision, F2, false positives and milliseconds on three sets, beside Presidio's defaults.

    python -m bench.pii [--json FILE] [--per-entity-ms]

Sets: (a) presidio-evaluator's generator (its templates, seed 7, 600 sentences), (b) Chinese sentences, (c) chat-like text.
Takes about two minutes on one core.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import time
import warnings
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

from gateway.pii.language_models import without_training_libraries  # noqa: E402

without_training_libraries()

from bench.pii import chat, chinese  # noqa: E402
from bench.pii.scoring import Score, Spans, f2  # noqa: E402
from bench.pii.systems import Ours, PresidioDefaults, System  # noqa: E402

TARGET = [
    "PERSON", "STREET_ADDRESS", "GPE", "PHONE_NUMBER", "CREDIT_CARD", "EMAIL_ADDRESS",
    "IBAN_CODE", "US_SSN", "ZIP_CODE", "AGE", "DATE_TIME",
]  # fmt: skip
# Labels of presidio-evaluator's set that stand for ours under another name.
_RENAMED = {"DOMAIN_NAME": "URL", "US_DRIVER_LICENSE": "LICENSE_NUMBER"}
Labelled = list[tuple[str, Spans]]


def generator_set(count: int = 600, seed: int = 7) -> Labelled:
    """presidio-evaluator 0.3.2's sentences; NRP and TITLE keep their labels although no detector here is asked for them."""
    from presidio_evaluator.data_generator import PresidioSentenceFaker

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        faker = PresidioSentenceFaker("en_US", lower_case_ratio=0.05, random_seed=seed)
        samples = faker.generate_new_fake_sentences(count)
    return [
        (
            sample.full_text,
            [(span.start_position, span.end_position, _RENAMED.get(span.entity_type, span.entity_type)) for span in sample.spans],
        )
        for sample in samples
    ]


def measure(system: System, data: Labelled, entities: list[str] | None = None) -> Score:
    score = Score()
    for text, _ in data[:10]:
        system.detect(text, entities)  # warm
    for text, labels in data:
        started = time.perf_counter()
        found = system.detect(text, entities)
        score.add(text, labels, found, time.perf_counter() - started)
    return score


def report(name: str, scores: dict[str, Score], ms: dict[str, dict[str, float]]) -> str:
    systems = list(scores)
    lines = [
        f"\n{name}",
        f"{'entity':<18}{'n':>5}  " + "  ".join(f"{system + ' recall':>16}{'typed':>7}{'prec.':>7}{'F2':>7}" for system in systems),
    ]
    entities = sorted(next(iter(scores.values())).labelled, key=lambda entity: -next(iter(scores.values())).labelled[entity])
    rows: list[tuple[str, list[str] | None]] = [(entity, [entity]) for entity in entities]
    if set(TARGET) & set(entities):
        rows.append(("the eleven", TARGET))
    rows.append(("all", None))
    for label, chosen in rows:
        count = sum(next(iter(scores.values())).labelled[entity] for entity in (chosen or entities))
        cells = []
        for system in systems:
            score = scores[system]
            recall, precision = score.recall(chosen), score.precision(chosen)
            typed = sum(score.typed[entity] for entity in (chosen or entities)) / max(1, count)
            cells.append(f"{recall:>16.3f}{typed:>7.3f}{precision:>7.3f}{f2(precision, recall):>7.3f}")
        lines.append(f"{label:<18}{count:>5}  " + "  ".join(cells))
    for system in systems:
        score = scores[system]
        lines.append(
            f"{system}: {score.false_per_thousand:.1f} false-positive characters per 1,000; "
            f"{score.ms_per_text:.1f} ms a text of {score.characters / score.texts:.0f} characters"
        )
    first, *others = systems
    for other in others:
        lines.append(
            f"{first} / {other}: time {scores[first].seconds / scores[other].seconds:.2f}, "
            f"false-positive characters {scores[first].false_characters / max(1, scores[other].false_characters):.2f}"
        )
    for system, times in ms.items():
        lines.append(
            f"{system}, ms a text when only one entity is asked for: "
            + ", ".join(f"{entity} {value:.2f}" for entity, value in times.items())
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pii", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    parser.add_argument("--only", choices=("generator", "chinese", "chat"), action="append", help="measure these sets alone")
    parser.add_argument("--no-peer", action="store_true", help="leave Presidio's defaults out")
    parser.add_argument("--per-entity-ms", action="store_true", help="also time a policy that asks for one entity alone")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    peers: list[System] = [] if arguments.no_peer else [PresidioDefaults()]
    systems = [Ours(), *peers]
    sets = {
        "generator": ("(a) presidio-evaluator's generator, seed 7, 600 sentences", generator_set),
        "chinese": ("(b) Chinese sentences, seed 21, 400", lambda: chinese.sentences(400, 21, chinese.REPORTED)),
        "chat": ("(c) chat-like text", chat.sentences),
    }
    figures = {}
    for key, (name, make) in sets.items():
        if arguments.only and key not in arguments.only:
            continue
        data = make()
        scores = {system.name: measure(system, data) for system in systems}
        ms: dict[str, dict[str, float]] = {}
        if arguments.per_entity_ms:
            entities = sorted({label for _, spans in data for *_, label in spans} - {"NRP", "TITLE"})
            ms = {system.name: {entity: measure(system, data[:100], [entity]).ms_per_text for entity in entities} for system in systems}
        print(report(name, scores, ms), flush=True)
        figures[key] = {
            system: {
                "recall": score.recall(), "recall_target": score.recall(TARGET), "precision": score.precision(),
                "false_per_thousand": score.false_per_thousand,
                "ms_per_text": score.ms_per_text, "recall_by_entity": {entity: score.recall([entity]) for entity in score.labelled},
                "labelled": dict(score.labelled),
            }
            for system, score in scores.items()
        }  # fmt: skip
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
