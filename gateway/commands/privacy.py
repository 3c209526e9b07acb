"""The rights of data subjects: erase what the vault keeps, and write the record of processing."""

from __future__ import annotations

import datetime
from typing import Annotated

import typer

from gateway.admin.parts import AdminParts
from gateway.admin.privacy import erase_conversation, erase_tenant, record_of_processing
from gateway.commands._administer import administer, operator

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.command()
def erase(
    tenant: Annotated[str, typer.Option(help="The tenant; alone, all of its conversations are erased.")],
    conversation: Annotated[str | None, typer.Option(help="The X-LLMOS-Conversation that the caller sent.")] = None,
    key: Annotated[str | None, typer.Option(help="The id of the key that the caller used, with --conversation.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Destroy vault entries: the conversation's key and its sealed values, in the store and in its append-only file.

    A conversation without a header has an identity that only its own text gives; it ends by its retention, or with --tenant.
    """
    if (conversation is None) != (key is None):
        typer.echo("--conversation and --key go together.", err=True)
        raise typer.Exit(2)
    everything = f"ALL conversations and the roster of tenant {tenant!r}"
    what = f"conversation {conversation!r} of key {key}" if conversation is not None else everything
    if not yes:
        typer.confirm(f"Erase {what}? This can't be undone.", abort=True)

    async def work(parts: AdminParts) -> None:
        if conversation is not None and key is not None:
            assert parts.conversation_key is not None
            erased = await erase_conversation(
                parts, operator(), tenant=tenant, key_id=key, header=conversation, conversation_key=parts.conversation_key
            )
        else:
            erased = await erase_tenant(parts, operator(), tenant)
        typer.echo(f"Erased {erased.conversations} conversations ({what}).")
        if not erased.conversations:
            typer.echo("There was nothing (any more): a conversation ends by its retention too.", err=True)
        if not erased.compacted:
            typer.echo("The store did not rewrite its append-only file; deleted bytes may still lie on its disk.", err=True)

    administer(work)


@app.command()
def report(tenant: Annotated[str, typer.Option(help="The tenant.")]) -> None:
    """Write the record of processing (GDPR Art. 30, PIPL Art. 54 to 56) as Markdown, from the policies and the audit."""

    async def work(parts: AdminParts) -> None:
        typer.echo(await record_of_processing(parts, tenant, datetime.datetime.now(datetime.UTC)))

    administer(work)
