"""Published versions: list and verify them, serve one, go back, write one out for another engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from gateway.commands.federate.options import EXIT_FAILED, Federation, console, read_federation, told, track

if TYPE_CHECKING:
    from federated_trainer.refresh import VllmRefresher
    from federated_trainer.settings import FederationSettings

Version = Annotated[int, typer.Argument(help="The number of a published version.")]


def models(federation: Federation) -> None:
    """The registry's versions, verified: signatures and chain."""
    from federated_trainer.coordinator import open_registry
    from federated_trainer.served import ServedStore

    with told():
        settings = read_federation(federation)
        served = ServedStore(settings.data_dir / "served.json").read()
        table = Table("version", "round", "clients", "epsilon", "perplexity", "published", "served")
        for manifest in open_registry(settings).verify_chain():
            note = {served.current: "now", served.previous: "way back"}.get(manifest.version, "")
            table.add_row(
                f"r{manifest.version}",
                str(manifest.round_number),
                str(manifest.clients),
                _rounded(manifest.privacy.get("epsilon")),
                str(manifest.measures.get("perplexity", "–")),
                manifest.published_at,
                "rolled back" if manifest.version in served.withdrawn else note,
            )
        console.print(table)


def promote(version: Version, federation: Federation) -> None:
    """Bring a published version into service: load, canary, watch, switch, drain."""
    with told():
        _refresher(read_federation(federation)).refresh(version)
        console.print(f"r{version} is served.")


def rollback(federation: Federation) -> None:
    """Serve the version before again."""
    with told():
        back = _refresher(read_federation(federation)).rollback()
        console.print("The base model is served." if back < 0 else f"r{back} is served.")


def export(
    version: Version,
    federation: Federation,
    folder: Annotated[Path, typer.Argument(help="Where the merged model goes; it must not exist.")],
    mpc: Annotated[Path | None, typer.Option("--mpc", help="Also prepare it for the MPC parties, into this file.", dir_okay=False)] = None,
) -> None:
    """Write a version as one whole model, its adapter merged into the base: for the MPC parties, or a model server of its own."""
    from federated_trainer.export import export_version

    with told():
        settings = read_federation(federation)
        export_version(settings, version, folder.absolute())
        console.print(f"r{version} is written to {folder}.", markup=False)
    if mpc is not None:
        from mpc_inference.errors import ModelUnsupported
        from mpc_inference.llama.artifact import prepare

        try:
            with track(console, "preparing for secret sharing") as progress:
                prepare(folder, mpc, progress)
        except ModelUnsupported as error:
            console.print(str(error), style="red", markup=False, soft_wrap=True)
            raise typer.Exit(EXIT_FAILED) from None
        console.print(f"Prepared for the MPC parties: {mpc}. Copy it to each role, and its SHA-256 into mpc.yaml.", markup=False)


def _rounded(epsilon: float | str | None) -> str:
    return f"{epsilon:.3f}" if isinstance(epsilon, float) else "–"


def _refresher(settings: FederationSettings) -> VllmRefresher:
    from federated_trainer.adapter import base_digest
    from federated_trainer.coordinator import open_refresher
    from federated_trainer.errors import BadConfiguration

    refresher = open_refresher(settings, base_digest(settings.base_model), lambda stage, what: console.print(what, markup=False))
    if refresher is None:
        raise BadConfiguration("The federation's [serving] names no vllm_url, or it trains full weights: see `llmos federate export`.")
    return refresher
