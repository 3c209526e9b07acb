"""The audit log: verify it, export it, search it.

`verify --export FILE --public-key HEX` needs neither the store nor the gateway's key: an outside party can run it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.progress import Progress, TaskID

from gateway.admin.audit import export_lines, verify_tenant
from gateway.admin.parts import AdminParts
from gateway.admin.search import Wanted, newest
from gateway.audit.chain import public_key_from_text, public_key_text
from gateway.audit.verify import Report, verify_export
from gateway.commands._administer import EXIT_REFUSED, administer

app = typer.Typer(help=__doc__, no_args_is_help=True)

Tenant = Annotated[str | None, typer.Option(help="Only this tenant's log; `-` is the system's own.")]


@app.command()
def verify(
    tenant: Tenant = None,
    export: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Verify this export, not the store.")] = None,
    public_key: Annotated[str | None, typer.Option(help="The gateway's public key (64 hexadecimal digits), for an export.")] = None,
) -> None:
    """Say which records were changed, are missing, stand in the wrong place or were cut off. The exit status is 1 if any."""
    reports: list[Report] = []
    if export is not None:
        if public_key is None:
            typer.echo("An export is verified with --public-key; ask the operator for it (`llmos audit public-key`).", err=True)
            raise typer.Exit(2)
        try:
            with export.open(encoding="utf-8") as lines:
                reports.append(verify_export(lines, public_key_from_text(public_key)))
        except ValueError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(EXIT_REFUSED) from None
    else:

        async def work(parts: AdminParts) -> None:
            with Progress(transient=True, disable=not sys.stderr.isatty()) as progress:
                for name in [tenant] if tenant is not None else await parts.audit.tenants():
                    task = progress.add_task(f"verify {name}", total=None)

                    def shown(seq: int, task: TaskID = task) -> None:
                        progress.update(task, completed=seq)

                    reports.append(await verify_tenant(parts, name, shown))

        administer(work)
    for report in reports:
        verdict = "holds" if report.holds else "DOES NOT HOLD"
        typer.echo(f"{report.tenant}: {verdict}; {report.records} records, signed up to {report.signed_seq}")
        for finding in report.findings:
            typer.echo(f"  {finding}")
    raise typer.Exit(0 if all(report.holds for report in reports) else EXIT_REFUSED)


@app.command()
def export(
    tenant: Annotated[str, typer.Argument(help="The tenant; `-` is the system's own log.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file to write. [default: standard output]")] = None,
    first: Annotated[int, typer.Option(min=1, help="The first record.")] = 1,
) -> None:
    """Write a tenant's log as JSON lines that anybody can verify with the public key alone."""

    async def work(parts: AdminParts) -> None:
        file = output.open("w", encoding="utf-8") if output is not None else sys.stdout
        count = 0
        async for line in export_lines(parts, tenant, first):
            file.write(line + "\n")
            count += 1
        file.flush()
        typer.echo(f"{count} lines; verify with --public-key {public_key_text(parts.audit_keys.public)}", err=True)

    administer(work)


@app.command()
def search(
    tenant: Tenant = None,
    request_id: Annotated[str | None, typer.Option(help="The x-request-id of an answer.")] = None,
    key_id: Annotated[str | None, typer.Option(help="A key's id.")] = None,
    kind: Annotated[str | None, typer.Option(help="admission, outcome or admin.")] = None,
    outcome: Annotated[str | None, typer.Option(help="`ok` or an error code.")] = None,
    policy: Annotated[str | None, typer.Option(help="A policy's id.")] = None,
    hours: Annotated[float | None, typer.Option(min=0, help="Only the last hours.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
) -> None:
    """Print matching records as JSON lines, the newest first."""
    since = time.time() - hours * 3600 if hours is not None else None
    wanted = Wanted(tenant, request_id, key_id, kind, outcome, policy, since)

    async def work(parts: AdminParts) -> None:
        for record in await newest(parts.audit, wanted, limit):
            typer.echo(orjson.dumps(record).decode())

    administer(work)


@app.command(name="public-key")
def public_key() -> None:
    """The key that verifies signed heads and exports; give it to who verifies, by another way than the export."""

    async def work(parts: AdminParts) -> None:
        typer.echo(public_key_text(parts.audit_keys.public))

    administer(work)
