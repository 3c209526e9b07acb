"""Start the gateway alone, in front of a model server that runs already."""

from __future__ import annotations

import contextlib
import gc
from functools import partial
from typing import Annotated

import typer
import uvicorn
from uvicorn.supervisors import Multiprocess

from gateway.audit.log_filter import configure_logging
from gateway.pii.lean_imports import without_training_libraries
from gateway.serving.valkey import EmbeddedValkey
from gateway.settings import Settings

app = typer.Typer(help=__doc__)
DRAIN_S = 30
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
    finished first, for up to half a minute.
    """
    settings = Settings.from_process(upstream=upstream, host=host, port=port, models=tuple(model) if model else None)
    with contextlib.ExitStack() as stack:
        if settings.redis_url is None:
            stack.enter_context(EmbeddedValkey(settings.data_dir))
        config = uvicorn.Config(
            partial(_create, settings),
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=workers,
            loop="uvloop",
            http="httptools",
            ws="none",
            access_log=False,  # paths and addresses are the audit's business
            log_level=settings.log_level if settings.log_level != "debug" else "info",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
        if workers == 1:
            uvicorn.Server(config).run()
            return
        Multiprocess(config, target=uvicorn.Server(config=config).run, sockets=[config.bind_socket()]).run()


def _create(settings: Settings) -> object:
    """Runs in each worker's process. The application is imported here, once the libraries that it can spare are kept out."""
    without_training_libraries()
    from gateway.app import create_app

    configure_logging(settings.log_level)
    created = create_app(settings)
    _spare_the_collector()
    return created


def _spare_the_collector() -> None:
    """Keep the libraries' own objects, which live as long as the process, out of every garbage collection, and collect less often.

    A request makes thousands of objects and hardly a cycle: with the default threshold of 700 a third of its CPU time went into collecting.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
