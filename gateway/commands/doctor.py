"""Say what is missing on this machine, and how to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.serving import checks
from gateway.settings import Settings

app = typer.Typer(help=__doc__)


@app.command()
def doctor(
    vllm_python: Annotated[Path, typer.Option(help="The Python of vLLM's environment.")] = Path(".venv-vllm/bin/python"),
) -> None:
    """Say what is missing on this machine, and how to mend it. The exit status is 1 if something needed is missing."""
    findings = checks.everything(Settings.from_process(), vllm_python)
    table = Table(box=None, show_header=False, padding=(0, 1))
    for each in findings:
        mark = ("✓", "green") if each.is_well else ("✗", "red") if each.needed else ("!", "yellow")
        table.add_row(Text(*mark), each.name, each.found)
        if each.mend:
            table.add_row("", "", Text(f"→ {each.mend}", "bold"))
    Console(soft_wrap=True).print(table)
    raise typer.Exit(int(any(each.needed and not each.is_well for each in findings)))
