"""`make bench-pii`: recall, precision, F2, false positives and milliseconds on three sets, beside Presidio's defaults.

    python -m bench.pii [--only generator|chinese|chat|roster] [--no-peer]

Sets: (a) presidio-evaluator's generator (its templates, 2,400 sentences), (b) Chinese sentences, (c) chat-like text; then a
roster of a million people. Writes docs/benchmarks/pii.md and its plot. Takes about four minutes on one core.
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
from collections.abc import Callable
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

from gateway.pii.lean_imports import without_training_libraries  # noqa: E402

without_training_libraries()

from bench.pii import chat, chinese  # noqa: E402
from bench.pii.report import draw, figures, markdown, roster_lines, summary, table  # noqa: E402
from bench.pii.roster import measure as measure_roster  # noqa: E402
from bench.pii.scoring import Score, Spans  # noqa: E402
from bench.pii.systems import Ours, PresidioDefaults, System  # noqa: E402
from bench.stamp import stamped  # noqa: E402

# Labels of presidio-evaluator's set that stand for ours under another name.
_RENAMED = {"DOMAIN_NAME": "URL", "US_DRIVER_LICENSE": "LICENSE_NUMBER"}
Labelled = list[tuple[str, Spans]]
OUTPUT = Path(__file__).parents[2] / "docs" / "benchmarks"


def generator_set(count: int = 2400, seed: int = 7) -> Labelled:
    """presidio-evaluator 0.3.2's sentences; NRP and TITLE keep their labels although no detector here is asked for them.

    Its seed fixes the templates and not every value, so that figures differ by half a per cent from run to run.
    """
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


SETS: dict[str, tuple[str, Callable[[], Labelled]]] = {
    "generator": ("(a) presidio-evaluator's generator, 2,400 sentences", generator_set),
    "chinese": ("(b) Chinese sentences, seed 21, 400", lambda: chinese.sentences(400, 21, chinese.REPORTED)),
    "chat": ("(c) chat-like text", chat.sentences),
}


def measure(system: System, data: Labelled, entities: list[str] | None = None) -> Score:
    score = Score()
    for text, _ in data[:10]:
        system.detect(text, entities)  # warm
    for text, labels in data:
        started = time.perf_counter()
        found = system.detect(text, entities)
        score.add(text, labels, found, time.perf_counter() - started)
    return score


def milliseconds_by_entity(system: System, data: Labelled) -> dict[str, float]:
    """A text's milliseconds when one entity alone is asked for."""
    entities = sorted({label for _, spans in data for *_, label in spans} - {"NRP", "TITLE"})
    return {entity: measure(system, data[:60], [entity]).ms_per_text for entity in entities}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pii", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=(*SETS, "roster"), action="append", help="measure these alone; no page is written")
    parser.add_argument("--no-peer", action="store_true", help="leave Presidio's defaults out; no page is written")
    parser.add_argument("--people", type=int, default=1_000_000, help="how many people the roster holds")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    peers: list[System] = [] if arguments.no_peer else [PresidioDefaults()]
    systems = [Ours(), *peers]
    sections = {}
    for key, (name, make) in SETS.items():
        if arguments.only and key not in arguments.only:
            continue
        data = make()
        scores = {system.name: measure(system, data) for system in systems}
        ms = {system.name: milliseconds_by_entity(system, data) for system in systems}
        print(f"\n{name}\n", *table(scores, ms), *summary(scores), sep="\n", flush=True)
        sections[key] = (name, scores, ms)
    roster = None
    if not arguments.only or "roster" in arguments.only:
        roster = measure_roster([text for text, _ in generator_set(2000, seed=8)], arguments.people)
        print("\nthe roster\n", *roster_lines(roster), sep="\n", flush=True)
    if arguments.only or arguments.no_peer:
        return
    OUTPUT.mkdir(parents=True, exist_ok=True)
    draw(sections["generator"][1], "Recall on presidio-evaluator's generator, 2,400 sentences", OUTPUT / "pii.svg")
    (OUTPUT / "pii.md").write_text(markdown(sections, roster, "pii.svg"), "utf-8")
    (OUTPUT / "pii.json").write_text(
        json.dumps(stamped(figures({key: scores for key, (_, scores, _) in sections.items()}, roster)), indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
