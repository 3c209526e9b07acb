"""The report of `bench.pii`: tables as text and Markdown, and one plot of recall beside the peer's."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.pii.roster import RosterFigures
from bench.pii.scoring import Score, f2

TARGET = [
    "PERSON", "STREET_ADDRESS", "GPE", "PHONE_NUMBER", "CREDIT_CARD", "EMAIL_ADDRESS",
    "IBAN_CODE", "US_SSN", "ZIP_CODE", "AGE", "DATE_TIME",
]  # fmt: skip
Scores = Mapping[str, Score]


def table(scores: Scores, ms: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Rows of a Markdown table: an entity each, then the eleven of the target together, then all."""
    first = next(iter(scores.values()))
    systems = list(scores)
    head = " | ".join(f"{system}: recall | typed | precision | F2" + (" | ms" if system in ms else "") for system in systems)
    columns = 2 + sum(5 if system in ms else 4 for system in systems)
    lines = [f"| entity | n | {head} |", "|---|" + "--:|" * (columns - 1)]
    entities = sorted(first.labelled, key=lambda entity: -first.labelled[entity])
    rows: list[tuple[str, list[str] | None]] = [(entity, [entity]) for entity in entities]
    if set(TARGET) & set(entities):
        rows.append(("**the eleven**", TARGET))
    rows.append(("**all**", None))
    for label, chosen in rows:
        count = sum(first.labelled[entity] for entity in (chosen or entities))
        cells = []
        for system in systems:
            score = scores[system]
            recall, precision = score.recall(chosen), score.precision(chosen)
            typed = sum(score.typed[entity] for entity in (chosen or entities)) / max(1, count)
            cells += [f"{recall:.3f}", f"{typed:.3f}", "–" if precision != precision else f"{precision:.3f}"]
            cells.append("–" if precision != precision else f"{f2(precision, recall):.3f}")
            if system in ms:
                cells.append(f"{ms[system][label]:.2f}" if label in ms[system] else "")
        lines.append(f"| {label} | {count} | " + " | ".join(cells) + " |")
    return lines


def summary(scores: Scores) -> list[str]:
    """False positives and time of each system, and the ratios."""
    lines = []
    for system, score in scores.items():
        lines.append(
            f"- {system}: {score.false_per_thousand:.1f} false-positive characters per 1,000; {score.ms_per_text:.1f} ms a text "
            f"(median {score.median_ms:.1f}) of {score.characters / score.texts:.0f} characters"
        )
    ours, *others = scores
    for other in others:
        lines.append(
            f"- {ours} / {other}: recall {scores[ours].recall(TARGET) / scores[other].recall(TARGET):.2f}, false-positive characters "
            f"{scores[ours].false_characters / max(1, scores[other].false_characters):.2f}, "
            f"time {scores[ours].seconds / scores[other].seconds:.2f}"
        )
    return lines


def roster_lines(figures: RosterFigures) -> list[str]:
    lines = ["| characters of a message | ms, median | ms, 99th percentile |", "|--:|--:|--:|"]
    lines += [f"| {length} | {median:.2f} | {worst:.2f} |" for length, (median, worst) in figures.milliseconds.items()]
    return [
        *lines,
        "",
        f"{figures.people:,} people (a name, a telephone number, a record number each): {figures.load_s:.0f} s to load, "
        f"{figures.megabytes:.0f} MB, {figures.bytes_a_person:.0f} bytes a person, once a machine (processes map one file). "
        f"{figures.found} of {figures.named} people named in a message were found; {figures.false_per_thousand:.1f} characters in 1,000 "
        "of the rest were taken for somebody of the roster: namesakes, since the messages are sentences about other people.",
    ]


def markdown(sections: Mapping[str, tuple[str, Scores, Mapping[str, Mapping[str, float]]]], roster: RosterFigures | None, plot: str) -> str:
    """The page that `make bench-pii` writes."""
    lines = [
        "# Detection: recall, precision, time",
        "",
        f"Written by `make bench-pii` in one run on one machine: {platform.machine()}, {platform.system()}, Python "
        f"{platform.python_version()}, one thread. The peer is Presidio's analyzer with its defaults on the same spaCy model.",
        "",
        "Recall is by exact cover: a labelled span counts when each of its characters lies in detected spans of any type. `typed` asks "
        "for the labelled type besides. Precision is by span: more than half of it labelled. False positives are characters outside "
        "every label. What the sets are, and what they are not: [scrubbing](../scrubbing.md#measured).",
        "",
        f"![Recall by entity beside Presidio's defaults]({plot})",
    ]
    for name, scores, ms in sections.values():
        lines += ["", f"## {name}", "", *table(scores, ms), "", *summary(scores)]
    if roster is not None:
        lines += ["", "## The roster", "", *roster_lines(roster)]
    return "\n".join(lines) + "\n"


def figures(sections: Mapping[str, Scores], roster: RosterFigures | None) -> dict[str, Any]:
    """The figures that other pages repeat."""
    plain: dict[str, Any] = {
        key: {
            system: {
                "recall": score.recall(), "recall_of_the_eleven": score.recall(TARGET), "precision": score.precision(),
                "false_per_thousand": score.false_per_thousand, "ms_per_text": score.ms_per_text, "median_ms": score.median_ms,
            }
            for system, score in scores.items()
        }
        for key, scores in sections.items()
    }  # fmt: skip
    if roster is not None:
        plain["roster"] = asdict(roster)
    return plain


def draw(scores: Scores, title: str, path: Path) -> None:
    """Recall by entity, the systems side by side."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "bench.pii"
    from matplotlib import pyplot

    first = next(iter(scores.values()))
    entities = [entity for entity in TARGET if first.labelled[entity]]
    figure, axes = pyplot.subplots(figsize=(8, 4.2), layout="constrained")
    width = 0.8 / len(scores)
    for index, (system, score) in enumerate(scores.items()):
        places = [place + (index - (len(scores) - 1) / 2) * width for place in range(len(entities))]
        bars = axes.barh(
            places, [score.recall([entity]) for entity in entities], width, label=system, color=("#1f6f8b", "#c9c9c9")[index % 2]
        )
        axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=7)
    axes.set_yticks(range(len(entities)), [f"{entity} ({first.labelled[entity]})" for entity in entities], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.08)
    axes.set_xlabel("recall (exact cover)")
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
