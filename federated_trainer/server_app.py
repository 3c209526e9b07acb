"""The coordinator's Flower app: rounds over the grid of the SuperLink, with the settings that the run names."""

from __future__ import annotations

import sys
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from federated_trainer.coordinator import open_status, run_rounds
from federated_trainer.errors import BadConfiguration
from federated_trainer.flower_clients import FlowerClients
from federated_trainer.roster import read_roster
from federated_trainer.settings import FederationSettings, read_settings

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run config: `federation` names the settings' file, `rounds` how many rounds (0: as many as the file says), `token` the lock's."""
    path = context.run_config.get("federation")
    if not isinstance(path, str) or not path:
        raise BadConfiguration("Start the run with --run-config 'federation=\"FILE\"'.")
    settings = read_settings(Path(path), FederationSettings)

    def progress(stage: str, what: str) -> None:
        print(f"[{stage}] {what}", file=sys.stderr, flush=True)

    status = open_status(settings, progress)
    clients = FlowerClients(
        grid, read_roster(settings.roster), settings.aggregation, settings.join_timeout_s, settings.round_timeout_s, status.tell
    )
    run_rounds(
        settings, int(context.run_config.get("rounds", 0)) or settings.rounds, clients, progress, int(context.run_config.get("token", 0))
    )
