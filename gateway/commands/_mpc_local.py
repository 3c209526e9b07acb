"""The MPC deployment of this machine: made under the data directory when it is first needed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from gateway.serving import mpc_demo, mpc_processes
from gateway.serving.demo import DemoError
from gateway.serving.supervisor import Child
from gateway.settings import Settings
from mpc_inference import launch
from mpc_inference.config import read_config, write_config
from mpc_inference.errors import ConfigInvalid


def local_deployment(settings: Settings, console: Console, *, demonstrates: bool = False) -> Path:
    """DATA_DIR/mpc/mpc.yaml; where it demonstrates, a copy of it whose parties show the first words of the share that they received.

    Raises ModelUnsupported, ConfigInvalid.
    """
    config = settings.data_dir / "mpc" / "mpc.yaml"
    if not config.exists():
        with bar(console, "preparing the model for MPC") as progress:
            launch.init(config.parent, settings.model_dir, progress)
    if not demonstrates:
        return config
    shown = config.with_name("demonstration.yaml")
    write_config(shown, read_config(config).model_copy(update={"show_shares": True}))
    return shown


@dataclass(frozen=True, slots=True)
class LocalMpc:
    """What `llmos up --with mpc` runs besides."""

    config: Path
    children: list[Child]

    @classmethod
    def of(cls, settings: Settings, console: Console, *, demonstrates: bool) -> LocalMpc:
        """Raises ConfigInvalid in production, and the errors of `local_deployment`."""
        if settings.env == "production":
            raise ConfigInvalid(f"`--with mpc` refuses in production. {launch.ONE_OPERATOR}")
        console.print(Text(launch.ONE_OPERATOR, "yellow"))
        config = local_deployment(settings, console, demonstrates=demonstrates)
        return cls(config, mpc_processes.children(config))

    async def demonstrate(self, settings: Settings, key: str, console: Console) -> None:
        """The demonstration's request over secret shares, shown as a table of its own."""
        console.print("\nThe same request over secret shares:")
        try:
            shown = await mpc_demo.run(settings.base_url, key, settings.mpc_model, self.config)
        except DemoError as error:
            console.print(Text(f"The demonstration failed: {error}", "red"))
        else:
            console.print(mpc_demo.table(shown))


@contextlib.contextmanager
def bar(console: Console, title: str) -> Iterator[launch.Progress]:
    """A bar of parts (layers, embedding, head) on a terminal, a line at the end elsewhere; it stops when the work is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("parts"), TimeElapsedColumn())
    shown = Progress(*columns, console=console, disable=not console.is_terminal)
    task = shown.add_task(title, total=None)

    def progress(done: int, total: int) -> None:
        shown.update(task, completed=done, total=total)
        if done == total:
            shown.stop()
            if not console.is_terminal:
                console.print(f"{title}: {total} parts")

    with shown:
        yield progress
