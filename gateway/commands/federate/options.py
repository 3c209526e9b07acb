"""The options that several of these commands take, and how an error of the trainer is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

if TYPE_CHECKING:
    from federated_trainer.settings import FederationSettings

console = Console()
EXIT_FAILED = 1

Federation = Annotated[Path, typer.Option("--federation", "-f", help="The coordinator's settings.", exists=True, dir_okay=False)]
Institution = Annotated[Path, typer.Option("--institution", "-i", help="The institution's settings.", exists=True, dir_okay=False)]
SuperLink = Annotated[str, typer.Option(help="host:port of the SuperLink.")]
Ca = Annotated[Path, typer.Option(help="ca.crt of the SuperLink.", exists=True)]
FlowerHome = Annotated[Path, typer.Option(help="Where Flower keeps its files.")]

SUPERLINK = "127.0.0.1:9400"
CA = Path("ca.crt")
FLOWER_HOME = Path(".llmos/federate/flower")


@contextmanager
def told() -> Iterator[None]:
    """A TrainerError is one line and exit status 1, not a traceback."""
    from federated_trainer.errors import TrainerError

    try:
        yield
    except TrainerError as error:
        console.print(f"{type(error).__name__}: {error}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(EXIT_FAILED) from None


def read_federation(path: Path) -> FederationSettings:
    """Raises BadConfiguration."""
    from federated_trainer.settings import FederationSettings, read_settings

    return read_settings(path, FederationSettings)


@contextmanager
def track(on: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar; call what it gives with (done, total)."""
    with Progress(console=on) as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
