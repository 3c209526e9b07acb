"""The key ring: make, show, rotate and seal it, and bring every conversation under the current key.

A rotation is `rotate`, `activate NEW`, `reencrypt`, `retire OLD`; the gateways read the ring again after each step that changes it.
A key has to be everywhere before anybody writes under it, so the steps look at what the running workers hold, and refuse by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from gateway.admin.acting import acting
from gateway.admin.parts import AdminParts
from gateway.commands._administer import administer, operator
from gateway.pii.key_source import FileSource, KeySource
from gateway.pii.keyring import KeyRing, KeyRingError
from gateway.serving.keys import envelope, key_source
from gateway.settings import Settings
from gateway.stores.key_holders import LAPSE_S

app = typer.Typer(help=__doc__, no_args_is_help=True)
KeyId = Annotated[str, typer.Argument(help="A key's id, as `llmos keyring status` shows it.")]
FORCE_HELP = "Whatever the workers hold: one that lacks the key answers 503 for conversations under it until it has read the ring."
MEND = (
    "let it read the ring (SIGHUP, or a restart), then try again "
    f"(one that was killed counts for {LAPSE_S} s). `llmos keyring status` shows who holds what; --force goes on all the same"
)
EXIT_FAILED = 1


@app.command()
def init() -> None:
    """Make a ring where there is none: in LLMOS_MASTER_KEY_FILE, sealed by the HSM or the key service where one is named."""

    def work(settings: Settings) -> None:
        source = key_source(settings)
        if settings.master_key_path.exists():
            raise KeyRingError(f"{settings.master_key_path} stands already; a new ring would make what the old one wrapped unreadable")
        sealing = envelope(settings)
        if sealing is not None:
            try:
                sealing.create_key()
            except KeyRingError as error:
                typer.echo(f"no key was made ({error}); the one that stands there is used")
        ring = source.load_or_create()
        typer.echo(f"{settings.master_key_path}: {ring.current_id}")

    _run(work)


@app.command()
def status() -> None:
    """The keys of the ring, how many conversations of the store each wraps, and which keys the running workers hold."""

    async def work(parts: AdminParts, source: KeySource, ring: KeyRing) -> None:
        wrapped = await _count(parts)
        for key_id in ring.ids:
            typer.echo(f"{key_id:12} {'current' if key_id == ring.current_id else '':8} {wrapped[key_id]} conversations")
        for key_id in sorted(set(wrapped) - set(ring.ids)):
            typer.echo(f"{key_id:12} {'missing':8} {wrapped[key_id]} conversations, unreadable without it")
        for holder in await parts.key_holders.all():
            held = [key_id for key_id in ring.ids if holder.holds(key_id, ring)]
            typer.echo(f"worker {holder.worker} holds {', '.join(held) or 'none of them'}; it writes under {holder.current_id}")

    _on_ring(work)


@app.command()
def rotate() -> None:
    """Add a fresh key to the ring. Nothing is written under it before `activate`."""

    async def work(parts: AdminParts, source: KeySource, ring: KeyRing) -> None:
        changed = ring.staged()
        fresh = changed.ids[-1]
        async with acting(parts, operator(), "keyring.rotate", target=fresh):
            source.save(changed)
        typer.echo(f"{fresh} is in the ring. Let every gateway read it (SIGHUP, or a restart), then: llmos keyring activate {fresh}")

    _on_ring(work)


@app.command()
def activate(key: KeyId, force: Annotated[bool, typer.Option(help=FORCE_HELP)] = False) -> None:
    """Make a key of the ring the current one. Refused while a running worker lacks it."""

    async def work(parts: AdminParts, source: KeySource, ring: KeyRing) -> None:
        changed = ring.activated(key)
        lacking = [holder.worker for holder in await parts.key_holders.all() if not holder.holds(key, ring)]
        if lacking and not force:
            raise KeyRingError(f"{_named(lacking)} can't open what is written under {key}; {MEND}")
        async with acting(parts, operator(), "keyring.activate", target=key):
            source.save(changed)
        typer.echo(f"{key} is current. Let every gateway read it (SIGHUP, or a restart), then: llmos keyring reencrypt")

    _on_ring(work)


@app.command()
def reencrypt(force: Annotated[bool, typer.Option(help=FORCE_HELP)] = False) -> None:
    """Bring every conversation of the store under the current key. Safe beside a running gateway, and to run again.

    Refused while a running worker writes under another key: it might not open what is brought under this one, or bring it back.
    """

    async def work(parts: AdminParts, source: KeySource, ring: KeyRing) -> None:
        current = ring.current_id
        behind = [each.worker for each in await parts.key_holders.all() if each.current_id != current or not each.holds(current, ring)]
        if behind and not force:
            raise KeyRingError(f"{_named(behind)} does not write under {current}; {MEND}")
        async with acting(parts, operator(), "keyring.reencrypt", target=current):
            outcomes = await _reencrypt(parts, ring)
        typer.echo(", ".join(f"{number} {what}" for what, number in sorted(outcomes.items())) or "no conversations")
        if outcomes["unreadable"]:
            raise typer.Exit(EXIT_FAILED)

    _on_ring(work)


@app.command()
def retire(
    key: KeyId, force: Annotated[bool, typer.Option(help="Even if conversations become unreadable: crypto-shredding.")] = False
) -> None:
    """Take an old key out of the ring. Refused while conversations of the store are wrapped under it, or a worker writes under it."""

    async def work(parts: AdminParts, source: KeySource, ring: KeyRing) -> None:
        changed = ring.retired(key)
        writing = [holder.worker for holder in await parts.key_holders.all() if holder.current_id == key]
        if writing and not force:
            raise KeyRingError(f"{_named(writing)} writes under {key}; {MEND}")
        left = (await _count(parts))[key]
        if left and not force:
            raise KeyRingError(f"{left} conversations are wrapped under {key}: `llmos keyring reencrypt` first, or --force to lose them")
        async with acting(parts, operator(), "keyring.retire", target=key):
            source.save(changed)
        typer.echo(f"{key} is retired; what was encrypted into texts under it (the action `encrypt`) can't be opened any more.")
        typer.echo("Running gateways forget it when they read the ring again (SIGHUP, or a restart).")

    _on_ring(work)


@app.command()
def seal() -> None:
    """Seal a ring that lies in clear, under the key of the HSM or the key service.

    The clear file is overwritten; copies and backups of it are not.
    """

    def work(settings: Settings) -> None:
        sealing = envelope(settings)
        if sealing is None:
            raise KeyRingError("nothing seals: set LLMOS_PKCS11_MODULE, _TOKEN and _PIN_FILE, or LLMOS_TRANSIT_URL and _TOKEN_FILE")
        FileSource(settings.master_key_path, sealing).save(KeyRing.load(settings.master_key_path))
        typer.echo(f"{settings.master_key_path} is sealed")

    _run(work)


def _run(work: Callable[[Settings], None]) -> None:
    try:
        work(Settings.from_process())
    except KeyRingError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_FAILED) from None


def _on_ring(work: Callable[[AdminParts, KeySource, KeyRing], Awaitable[None]]) -> None:
    """Run `work` on a ring that stands: unlike a gateway's start, none of these commands makes one."""

    def on_ring(settings: Settings) -> None:
        source = key_source(settings)
        ring = source.load()
        administer(lambda parts: work(parts, source, ring))

    _run(on_ring)


def _named(workers: list[str]) -> str:
    return f"the worker {workers[0]}" if len(workers) == 1 else f"each of the workers {', '.join(workers)}"


async def _count(parts: AdminParts) -> Counter[str]:
    return Counter([KeyRing.key_id_of(wrapped) async for _, wrapped in parts.vault_store.wrapped_keys()])


async def _reencrypt(parts: AdminParts, ring: KeyRing) -> Counter[str]:
    outcomes = Counter[str]()
    async for entry, wrapped in parts.vault_store.wrapped_keys():
        if KeyRing.key_id_of(wrapped) == ring.current_id:
            outcomes["current already"] += 1
            continue
        try:
            secret = ring.unwrap(wrapped, entry.encode(), purpose="conversation")
        except KeyRingError:
            outcomes["unreadable"] += 1
            continue
        fresh = ring.wrap(secret, entry.encode(), purpose="conversation")
        outcomes["brought under it" if await parts.vault_store.rewrap(entry, wrapped, fresh) else "changed meanwhile"] += 1
    return outcomes
