"""Start the gateway alone, in front of a model server that runs already."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import shutil
import socket
import tempfile
from functools import partial
from multiprocessing.connection import Connection
from typing import Annotated

import typer

from gateway.serving.store import StoreNotReadyError, await_store
from gateway.serving.tether import end_with_parent
from gateway.serving.valkey import EmbeddedValkey, ValkeyStartError
from gateway.serving.workers import READY, Workers, print_line
from gateway.settings import Settings

app = typer.Typer(help=__doc__)
EXIT_FAILED = 1
GC_THRESHOLD = 20_000  # container objects more than at the last collection


@app.command()
def serve(
    upstream: Annotated[str | None, typer.Option(help="The OpenAI-compatible server, ending in /v1. [LLMOS_UPSTREAM]")] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on. [default: 8080]")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model name to serve that the upstream does not list; may be repeated.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the port; each has its own detector processes.")] = 1,
) -> None:
    """Start the gateway in front of a model server, and keep it running until Ctrl-C.

    Without LLMOS_REDIS_URL an embedded Valkey is started under the data directory. On Ctrl-C or SIGTERM requests in progress are
    finished first (LLMOS_DRAIN_TIMEOUT_S). With several workers SIGHUP replaces them one by one, without losing a request.
    """
    read = partial(Settings.from_process, upstream=upstream, host=host, port=port, models=tuple(model) if model else None)
    settings = read()
    with contextlib.ExitStack() as stack:
        if settings.redis_url is None:
            try:
                stack.enter_context(EmbeddedValkey(settings.data_dir))
            except ValkeyStartError as error:
                print_line(str(error))
                raise typer.Exit(EXIT_FAILED) from None
        _await_store(settings)
        if workers == 1:
            _serve_here(settings)
            return
        metrics_dir = tempfile.mkdtemp(prefix="llmos-metrics-")
        stack.callback(shutil.rmtree, metrics_dir, ignore_errors=True)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics_dir  # the library reads it at import, in each worker: their numbers are summed
        raise typer.Exit(Workers(workers, read, _serve_as_worker, print_line).serve())


def _await_store(settings: Settings) -> None:
    """A store that is not there yet is waited for; one that would lose entries ends the start with a sentence."""
    try:
        asyncio.run(await_store(settings, print_line))
    except StoreNotReadyError as error:
        print_line(str(error))
        raise typer.Exit(EXIT_FAILED) from None


def _serve_here(settings: Settings) -> None:
    """One process, this one."""
    _lean(settings)
    from gateway.app import create_app
    from gateway.serving.draining_server import DrainingServer

    server = DrainingServer(create_app(settings), settings)
    _spare_the_collector()
    server.run()
    if not server.started:
        raise typer.Exit(EXIT_FAILED)


def _serve_as_worker(settings: Settings, listener: socket.socket, pipe: Connection, parent_pid: int, warm: bool) -> None:
    """Runs in each worker's process."""
    end_with_parent(parent_pid)
    _lean(settings)
    from gateway.app import create_app
    from gateway.serving.draining_server import DrainingServer

    async def beat() -> None:
        with contextlib.suppress(OSError):
            pipe.send_bytes(READY)

    server = DrainingServer(create_app(settings, warm=warm), settings, beat)
    _spare_the_collector()
    server.run(sockets=[listener])
    if not server.started:
        raise SystemExit(EXIT_FAILED)


def _lean(settings: Settings) -> None:
    """The application is imported after this, once the libraries that it can spare are kept out."""
    from gateway.audit.log_filter import configure_logging
    from gateway.pii.lean_imports import without_training_libraries

    without_training_libraries()
    configure_logging(settings.log_level)


def _spare_the_collector() -> None:
    """Keep the libraries' own objects, which live as long as the process, out of every garbage collection, and collect less often.

    A request makes thousands of objects and hardly a cycle: with the default threshold of 700 it was
    collected several times a request (docs/decisions/wire-garbage-collection.md has the figures).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
