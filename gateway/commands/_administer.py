"""What the administering commands share: open the stores, run, and say an error in one line."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable

import typer

from gateway.admin.opening import open_administration
from gateway.admin.parts import AdminParts
from gateway.audit.log_filter import configure_logging
from gateway.errors import LlmosError
from gateway.exchange import Principal
from gateway.pii.keyring import KeyRingError
from gateway.serving.valkey import ValkeyStartError
from gateway.settings import Settings
from gateway.stores.audit import SYSTEM_TENANT

EXIT_REFUSED = 1


def administer(work: Callable[[AdminParts], Awaitable[None]], *, detection: bool = False) -> None:
    """Run `work` on the open stores, with a detector where `detection` is asked for.

    A typed error ends the command with its message and status 1.
    """

    async def inside() -> None:
        async with open_administration(Settings.from_process(), detection=detection) as parts:
            await work(parts)

    configure_logging("warning", sys.stderr)
    try:
        asyncio.run(inside())
    except LlmosError as error:
        typer.echo(error.message, err=True)
        raise typer.Exit(EXIT_REFUSED) from None
    except (KeyRingError, ValkeyStartError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_REFUSED) from None


def operator() -> Principal:
    """Who acts, as the audit and the history name them: the operating system's user, who may do what may be done here."""
    return Principal(SYSTEM_TENANT, f"cli:{getpass.getuser()}", "admin")
