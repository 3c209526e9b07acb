"""API keys: create, list, rotate, revoke; and what is known of a tenant.

Works on the store directly (LLMOS_REDIS_URL, or the embedded Valkey of the data directory).
"""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway.access.roles import ROLES
from gateway.admin.keys import create_key, put_tenant, revoke_key, rotate_key
from gateway.admin.parts import AdminParts
from gateway.commands._administer import administer, operator
from gateway.stores.tenants import Tenant
from policies.schema import Limits

app = typer.Typer(help=__doc__, no_args_is_help=True)

DAY_S = 86_400.0
KeyId = Annotated[str, typer.Argument(help="The key's id (`key_…`), as `llmos keys list` shows it.")]


@app.command()
def create(
    tenant: Annotated[str, typer.Argument(help="The tenant that the key belongs to.")],
    role: Annotated[str, typer.Option(help=f"What the key may do: {', '.join(ROLES)}.")] = "caller",
    label: Annotated[str, typer.Option(help="A word to know the key by.")] = "",
    model: Annotated[list[str] | None, typer.Option(help="A model that the key may use (`*` ends a prefix); may be repeated.")] = None,
    policy: Annotated[list[str] | None, typer.Option(help="A policy that may serve the key; may be repeated.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="Requests a minute.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(min=1, help="Tokens a minute.")] = None,
    streams: Annotated[int | None, typer.Option(min=1, help="Streams at once.")] = None,
    days: Annotated[float | None, typer.Option(min=0, help="Days until the key ends by itself.")] = None,
) -> None:
    """Make a key. Its text is printed once, to standard output, and kept nowhere."""
    limits = Limits(requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute, concurrent_streams=streams)

    async def work(parts: AdminParts) -> None:
        key = await create_key(
            parts,
            operator(),
            tenant=tenant,
            role=role,
            label=label,
            models=tuple(model or ()),
            policies=tuple(policy or ()),
            limits=limits,
            lifetime_s=days * DAY_S if days is not None else None,
        )
        typer.echo(f"{key.key_id} for tenant {tenant}, role {role}. The key, shown once:", err=True)
        typer.echo(key.text)

    administer(work)


@app.command(name="list")
def list_keys(tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None) -> None:
    """Every key: whose it is, what it may do, and whether it works."""

    async def work(parts: AdminParts) -> None:
        table = Table("key", "tenant", "role", "label", "created (UTC)", "ends (UTC)", "state")
        for record in await parts.keys.all(tenant):
            ends = _utc(record.expires_unix_s) if record.expires_unix_s is not None else ""
            created = _utc(record.created_unix_s)
            table.add_row(record.key_id, record.tenant, record.role, record.label, created, ends, record.state(time.time()))
        Console().print(table)

    administer(work)


@app.command()
def rotate(
    key_id: KeyId,
    overlap_hours: Annotated[float, typer.Option(min=0, help="How long the old text still works.")] = 24.0,
) -> None:
    """Give a key a new text. Its id, tenant and conversations stay."""

    async def work(parts: AdminParts) -> None:
        key = await rotate_key(parts, operator(), key_id, overlap_s=overlap_hours * 3600)
        typer.echo(f"{key_id}: the old text works for {overlap_hours:g} hours more. The new one, shown once:", err=True)
        typer.echo(key.text)

    administer(work)


@app.command()
def revoke(key_id: KeyId) -> None:
    """End a key, on every replica within a second."""

    async def work(parts: AdminParts) -> None:
        await revoke_key(parts, operator(), key_id)
        typer.echo(f"{key_id} is revoked.")

    administer(work)


@app.command()
def tenant(
    name: Annotated[str, typer.Argument(help="The tenant.")],
    production: Annotated[
        bool | None, typer.Option("--production/--no-production", help="Whether recall floors bind its policies.")
    ] = None,
    labelled: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Its labelled text, as JSON lines.")] = None,
) -> None:
    """Say whether a tenant is in production, and where its labelled text lies; what is not said stays as it was.

    Refused where a policy that serves the tenant has a recall floor that its text misses.
    """

    async def work(parts: AdminParts) -> None:
        known = next((each for each in await parts.tenants.all() if each.name == name), Tenant(name))
        file = str(labelled.resolve()) if labelled is not None else known.labelled_file
        tenant = Tenant(name, known.production if production is None else production, file)
        await put_tenant(parts, operator(), tenant)
        state = "production" if tenant.production else "not production"
        typer.echo(f"{name}: {state}; labelled text: {file or 'none'}.")

    administer(work, detection=True)


def _utc(unix_s: float) -> str:
    return datetime.datetime.fromtimestamp(unix_s, tz=datetime.UTC).strftime("%Y-%m-%d %H:%M")
