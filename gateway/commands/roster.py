"""The people that a tenant knows: load, look at, clear. They are found without statistics, and kept as keyed hashes.

Works on the store directly (LLMOS_REDIS_URL, or the embedded Valkey of the data directory). Nothing of a file is printed or logged.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from gateway.admin.parts import AdminParts
from gateway.admin.roster import RosterStatus, clear_roster, load_roster, roster_status
from gateway.commands._administer import administer, operator
from gateway.errors import BadRequest
from gateway.pii.roster.people import read_people

app = typer.Typer(help=__doc__, no_args_is_help=True)
TenantOption = Annotated[str, typer.Option(help="The tenant whose people these are.")]


@app.command()
def load(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV with a header line, or JSON lines; UTF-8.")],
    tenant: TenantOption,
    add: Annotated[bool, typer.Option("--add", help="Keep the people that serve, and add these.")] = False,
    ignore: Annotated[list[str] | None, typer.Option(help="A column to leave out; may be repeated.")] = None,
) -> None:
    """Load people from a file. On every replica they are found within a second of the end of the load.

    Columns (or JSON keys): name, or given_name, middle_name and family_name; aliases; phone; email; mrn; ssn; and any entity type
    as a column of numbers (MEDICAL_RECORD, CUSTOMER_NUMBER). Several values in a cell are parted by ; or |. An alias of one word
    matches wherever that word stands: leave common words out.
    """

    async def work(parts: AdminParts) -> None:
        with _lines(file) as lines:
            status = await load_roster(parts, operator(), tenant, read_people(lines, ignored=frozenset(ignore or ())), add=add)
        _show(tenant, status)
        if status.refused:
            typer.echo(f"{status.refused} names or numbers were left out: too short, or too long, to be told from other text.", err=True)

    administer(work)


@app.command()
def status(tenant: TenantOption) -> None:
    """How many people serve, and since when."""

    async def work(parts: AdminParts) -> None:
        found = await roster_status(parts, tenant)
        if found is None:
            typer.echo(f"{tenant} has no roster.")
        else:
            _show(tenant, found)

    administer(work)


@app.command()
def clear(tenant: TenantOption, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Take a tenant's roster away."""
    if not yes:
        typer.confirm(f"Clear the roster of tenant {tenant!r}? Its people are then found by detection alone.", abort=True)

    async def work(parts: AdminParts) -> None:
        typer.echo(f"The roster of {tenant} is cleared." if await clear_roster(parts, operator(), tenant) else f"{tenant} has no roster.")

    administer(work)


@contextmanager
def _lines(file: Path) -> Iterator[Iterator[str]]:
    """The lines of a file, with a progress bar on standard error. Raises BadRequest where it is not UTF-8 or can't be read."""
    columns = (TextColumn("hashing"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=Console(stderr=True)) as progress, progress.open(file, "rb") as source:
            yield (line.decode("utf-8") for line in source)
    except UnicodeDecodeError:
        raise BadRequest("The file is not UTF-8.") from None
    except OSError as error:
        raise BadRequest(f"The file can't be read: {error.strerror}.") from None


def _show(tenant: str, status: RosterStatus) -> None:
    loaded = datetime.datetime.fromtimestamp(status.stored.loaded_unix_s, tz=datetime.UTC)
    table = Table("entity", "terms", title=f"Roster of {tenant}: {status.contents.people:,} people")
    for entity, count in sorted(status.contents.terms.items()):
        table.add_row(entity, f"{count:,}")
    console = Console()
    console.print(table)
    console.print(f"Loaded {loaded:%Y-%m-%d %H:%M} UTC, {status.stored.size_bytes / 2**20:.1f} MiB of keyed hashes.", highlight=False)
