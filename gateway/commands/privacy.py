"""The rights of data subjects: erase what the vault keeps, shred its keys, and write the record of processing."""

from __future__ import annotations

import datetime
from typing import Annotated

import typer

from gateway.admin.acting import acting
from gateway.admin.parts import AdminParts
from gateway.admin.privacy import erase_conversation, erase_tenant, record_of_processing
from gateway.commands._administer import administer, operator
from gateway.serving.keys import key_source
from gateway.settings import Settings

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


@app.command(name="rotate-key")
def rotate_key(
    retire: Annotated[str | None, typer.Option(help="Also remove this key: whatever it wrapped can never be read again.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Add a key to the key ring; new conversations are wrapped by it, old ones when they are next used. Restart the gateways after it.

    With --retire an old key goes for good, and with it what backups of the store still hold of conversations under it.
    """
    settings = Settings.from_process()
    path, source = settings.master_key_path, key_source(settings)
    if retire is not None and not yes:
        typer.confirm(f"Remove the key {retire!r} from {path}? Conversations under it are lost. This can't be undone.", abort=True)

    async def work(parts: AdminParts) -> None:
        ring = source.load()
        changed = ring.rotated() if retire is None else ring.retired(retire)
        action = "privacy.rotate_key" if retire is None else "privacy.retire_key"
        async with acting(parts, operator(), action, target=changed.current_id if retire is None else retire):
            source.save(changed)
        said = f"{changed.current_id} wraps from now on" if retire is None else f"{retire} is gone"
        typer.echo(f"{path}: {said}. Copy the file to every replica, and restart the gateways.")

    administer(work)


@app.command()
def report(tenant: Annotated[str, typer.Option(help="The tenant.")]) -> None:
    """Write the record of processing (GDPR Art. 30, PIPL Art. 54 to 56) as Markdown, from the policies and the audit."""

    async def work(parts: AdminParts) -> None:
        typer.echo(await record_of_processing(parts, tenant, datetime.datetime.now(datetime.UTC)))

    administer(work)
