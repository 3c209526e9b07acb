"""The command `llmos`: finds the modules of `gateway.commands` and imports only the one that is called.

A module there holds `app`, a typer.Typer with one command or with several (then they are sub-commands). An underscore
in its name is a dash in the command's. Heavy imports stay out of `llmos --help`, which reads docstrings only.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path
from typing import Any

import click
import typer
from typer.core import TyperGroup

from gateway import commands
from gateway.settings import SettingsError

EXIT_USAGE = 2


def _module_names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(commands.__path__) if not module.name.startswith("_"))


def _summary(module_name: str) -> str:
    """The first line of the module's docstring, read without importing it."""
    spec = importlib.util.find_spec(f"gateway.commands.{module_name}")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text("utf-8")
    docstring = ast.get_docstring(ast.parse(source)) or ""
    return docstring.partition("\n")[0]


class LazyCommands(TyperGroup):
    """A click group whose commands are the modules of `gateway.commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name.replace("_", "-") for name in _module_names()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module_name = cmd_name.replace("-", "_")
        if module_name not in _module_names():
            return None
        app: typer.Typer = importlib.import_module(f"gateway.commands.{module_name}").app
        command = typer.main.get_command(app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name.replace("_", "-"), _summary(name)) for name in _module_names()])


app = typer.Typer(
    cls=LazyCommands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # a pretty traceback prints local variables, and those hold personal data
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def llmos() -> None:
    """LLMOS: an OpenAI-compatible gateway that keeps personal data from the model.

    `llmos up` starts everything on this machine. `llmos COMMAND --help` explains a command.
    """


def main(argv: list[str] | None = None) -> Any:
    """The console script. A wrong setting, or a package that is not installed, is a message with exit status 2, not a traceback."""
    try:
        return app(argv, prog_name="llmos")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("gateway", "policies", "mpc_inference", "federated_trainer"):
            raise
        print(f"llmos: this command needs the package {error.name}; `make setup WITH=mpc,federated` installs all of them", file=sys.stderr)
        raise SystemExit(EXIT_USAGE) from None
    except SettingsError as error:
        print(f"llmos: {error}", file=sys.stderr)
        raise SystemExit(EXIT_USAGE) from None


if __name__ == "__main__":
    main()
