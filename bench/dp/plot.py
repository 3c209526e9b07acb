"""Draws the measured curves: accuracy and perplexity against epsilon per response, side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NAMES = {
    "exponential": "token, exponential mechanism (unit: request)",
    "argmax": "token, randomised response on the argmax (unit: request)",
    "structured": "structured, one boolean leaf (unit: request)",
    "ensemble of 8": "ensemble of 8 (unit: one record)",
    "ensemble of 16": "ensemble of 16 (unit: one record)",
}
COLOURS = {name: f"C{number}" for number, name in enumerate(NAMES)}


def draw(folder: Path) -> None:
    """From dp-accuracy.json and dp-fluency.json, whichever is there, to dp-curve.svg."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4))
    if accuracy := _read(folder / "dp-accuracy.json"):
        _lines(left, accuracy["curves"])
        left.axhline(accuracy["greedy"], color="grey", linestyle=":", label="without privacy")
        left.set_title(f"SmolLM2-135M: {accuracy['task']}", fontsize=8)
        left.set_ylabel("accuracy (a free token at chance: 1/49,151)")
        left.legend(fontsize=6.5, loc="center left", bbox_to_anchor=(0.0, 0.42))
    if fluency := _read(folder / "dp-fluency.json"):
        _lines(right, fluency["curves"])
        for name, value in fluency["without_privacy"].items():
            right.axhline(value, color="grey", linestyle=":" if name == "greedy" else "--", label=f"without privacy, {name}")
        right.set_yscale("log")
        right.set_ylabel("perplexity under the clean model")
        right.set_title(f"{fluency['tokens']} drawn tokens a response", fontsize=8)
        right.legend(fontsize=6.5)
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xlabel("epsilon per response")
    figure.tight_layout()
    figure.savefig(folder / "dp-curve.svg", metadata={"Date": None})


def _lines(axes: Any, curves: dict[str, list[list[float]]]) -> None:
    for name, points in curves.items():
        axes.plot([p[0] for p in points], [p[1] for p in points], marker="o", markersize=3, color=COLOURS[name], label=NAMES[name])


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text()) if path.exists() else None
