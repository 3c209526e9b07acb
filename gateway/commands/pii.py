"""Measure detection on your own labelled text."""

from __future__ import annotations

import asyncio
import math
import secrets
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway.admin.recall import Recall, measure, read_labelled
from gateway.commands.scrub import read_policy
from gateway.errors import LlmosError
from gateway.pii.lean_imports import without_training_libraries
from policies.load import PolicyError
from policies.schema import Policy

app = typer.Typer(help=__doc__, no_args_is_help=True)
EXIT_FAILED = 1
_Z_95 = 1.959964  # the 97.5 % quantile of the standard normal distribution


@app.callback()
def pii() -> None:
    """Measure detection on your own labelled text."""


@app.command()
def evaluate(
    labelled: Annotated[Path, typer.Option(help='JSON lines: {"text": …, "spans": [{"start": …, "end": …, "entity": …}]}.')],
    policy: Annotated[str, typer.Option(help="A pack's name, or a policy file.")] = "default",
) -> None:
    """Recall by entity on labelled text, with a 95 % confidence interval (Wilson 1927).

    A labelled span counts as found when detected spans that the policy acts on cover it whole, whatever they are called: then
    nothing of it goes to the model. The figures hold for text like the file's.
    """
    console = Console()
    try:
        chosen = read_policy(policy)
        recall = asyncio.run(_measure(labelled, chosen))
    except (LlmosError, PolicyError) as error:
        console.print(f"llmos: {error}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(EXIT_FAILED) from None
    if not recall.labelled:
        console.print("The file labels nothing.", style="red")
        raise typer.Exit(EXIT_FAILED)
    table = Table("entity", "labelled", "found", "recall", "95 % interval", title=f"Policy {chosen.id}")
    for entity in [*sorted(recall.labelled), None]:
        total = recall.labelled.total() if entity is None else recall.labelled[entity]
        found = recall.found.total() if entity is None else recall.found[entity]
        low, high = wilson(found, total)
        table.add_row(entity or "all", str(total), str(found), f"{found / total:.3f}", f"{low:.3f} to {high:.3f}")
    console.print(table)


def wilson(found: int, total: int) -> tuple[float, float]:
    """The 95 % score interval for a share of `found` in `total` > 0 (Wilson 1927; Brown, Cai & DasGupta 2001, equation 4)."""
    share, z2 = found / total, _Z_95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z_95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return max(0.0, centre - half), min(1.0, centre + half)


async def _measure(path: Path, policy: Policy) -> Recall:
    without_training_libraries()
    from gateway.pii.cached_detector import CachedDetector
    from gateway.pii.detector_pool import DetectorPool

    entries = read_labelled(path)
    pool = DetectorPool(1, timeout_s=600.0)
    await pool.start()
    try:
        return await measure(CachedDetector(pool, None, key=secrets.token_bytes(32)), policy, entries)
    finally:
        await pool.stop()
