"""The key ring: make, show, rotate and seal it, and bring every conversation under the current key.

A rotation on one machine is `rotate`, then SIGHUP to the gateway, then `reencrypt`, then `retire OLD`. With replicas the new key must be
everywhere before anybody writes under it: `rotate --stage`, distribute the file, restart, then `activate NEW`, distribute, restart,
`reencrypt`, `retire`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Annotated

import typer

from gateway.admin.acting import acting
from gateway.admin.parts import AdminParts
from gateway.commands._administer import administer, operator
from gateway.errors import StoreUnavailable
from gateway.pii.key_source import FileSource
from gateway.pii.keyring import KeyRing, KeyRingError
from gateway.serving.keys import envelope, key_source
from gateway.serving.store import store_address
from gateway.settings import Settings
from gateway.stores.connection import connect
from gateway.stores.vault import RedisVaultStore

app = typer.Typer(help=__doc__, no_args_is_help=True)
KeyId = Annotated[str, typer.Argument(help="A key's id, as `llmos keyring status` shows it.")]
STORE_TIMEOUT_S = 30.0
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
    """The keys of the ring, and how many conversations of the store each wraps."""

    def work(settings: Settings) -> None:
        ring = key_source(settings).load()
        wrapped = asyncio.run(_count(settings))
        for key_id in ring.ids:
            typer.echo(f"{key_id:12} {'current' if key_id == ring.current_id else '':8} {wrapped[key_id]} conversations")
        for key_id in sorted(set(wrapped) - set(ring.ids)):
            typer.echo(f"{key_id:12} {'missing':8} {wrapped[key_id]} conversations, unreadable without it")

    _run(work)


@app.command()
def rotate(stage: Annotated[bool, typer.Option(help="Add the key without writing under it yet.")] = False) -> None:
    """Add a fresh key. New conversations are wrapped under it once every gateway has read the ring again (SIGHUP, or a restart)."""
    _change(lambda ring: ring.staged() if stage else ring.rotated())


@app.command()
def activate(key: KeyId) -> None:
    """Make a staged key the current one."""
    _change(lambda ring: ring.activated(key))


@app.command()
def retire(
    key: KeyId, force: Annotated[bool, typer.Option(help="Even if conversations become unreadable: crypto-shredding.")] = False
) -> None:
    """Take an old key out of the ring. Refused while conversations of the store are wrapped under it."""

    settings = Settings.from_process()
    source = key_source(settings)

    async def work(parts: AdminParts) -> None:
        left = (await _count(settings))[key]
        if left and not force:
            raise KeyRingError(f"{left} conversations are wrapped under {key}: `llmos keyring reencrypt` first, or --force to lose them")
        changed = source.load().retired(key)
        async with acting(parts, operator(), "keyring.retire", target=key):
            source.save(changed)
        typer.echo(f"{key} is retired; what was encrypted into texts under it (the action `encrypt`) can't be opened any more")

    administer(work)


@app.command()
def reencrypt() -> None:
    """Bring every conversation of the store under the current key. Safe beside a running gateway, and to run again."""

    def work(settings: Settings) -> None:
        outcomes = asyncio.run(_reencrypt(settings, key_source(settings).load()))
        typer.echo(", ".join(f"{number} {what}" for what, number in sorted(outcomes.items())) or "no conversations")
        if outcomes["unreadable"]:
            raise typer.Exit(EXIT_FAILED)

    _run(work)


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


def _change(how: Callable[[KeyRing], KeyRing]) -> None:
    source = key_source(Settings.from_process())

    async def work(parts: AdminParts) -> None:
        ring = how(source.load())
        async with acting(parts, operator(), "keyring.change", target=ring.current_id):
            source.save(ring)
        typer.echo(f"keys {', '.join(ring.ids)}; current {ring.current_id}. Let every gateway read it: SIGHUP, or a rolling restart.")

    administer(work)


def _run(work: Callable[[Settings], None]) -> None:
    try:
        work(Settings.from_process())
    except (KeyRingError, StoreUnavailable) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_FAILED) from None


async def _count(settings: Settings) -> Counter[str]:
    redis = connect(store_address(settings), timeout_s=STORE_TIMEOUT_S, max_connections=2)
    try:
        return Counter([KeyRing.key_id_of(wrapped) async for _, wrapped in RedisVaultStore(redis).wrapped_keys()])
    finally:
        await redis.aclose()


async def _reencrypt(settings: Settings, ring: KeyRing) -> Counter[str]:
    redis = connect(store_address(settings), timeout_s=STORE_TIMEOUT_S, max_connections=2)
    store, outcomes = RedisVaultStore(redis), Counter[str]()
    try:
        async for entry, wrapped in store.wrapped_keys():
            if KeyRing.key_id_of(wrapped) == ring.current_id:
                outcomes["current already"] += 1
                continue
            try:
                secret = ring.unwrap(wrapped, entry.encode(), purpose="conversation")
            except KeyRingError:
                outcomes["unreadable"] += 1
                continue
            fresh = ring.wrap(secret, entry.encode(), purpose="conversation")
            outcomes["brought under it" if await store.rewrap(entry, wrapped, fresh) else "changed meanwhile"] += 1
    finally:
        await redis.aclose()
    return outcomes
