"""Train together with other institutions: rounds, versions, budgets, schedules.

The coordinator has a federation.toml, each institution its own institution.toml; docs/federated.md explains both.
"""

from __future__ import annotations

import typer

from gateway.commands.federate.demo import demo
from gateway.commands.federate.network import certificates, client, keys, register, server
from gateway.commands.federate.rounds import budget, run, status
from gateway.commands.federate.schedule import schedule, scheduler
from gateway.commands.federate.versions import export, models, promote, rollback

app = typer.Typer(help=__doc__, no_args_is_help=True)
for _command in (
    *(demo, keys, certificates, server, register, client, run, status, budget),
    *(schedule, scheduler, models, promote, rollback, export),
):
    app.command()(_command)
