"""The console's page of federated rounds and served versions, with a rollback by one click.

It shows what coordinators told (`gateway.admin.models_api`) beside what the aliases serve now. The rollback moves the alias
only: the version before is still loaded, so it acts within a second; the coordinator sees it at its next look.
"""

from __future__ import annotations

import datetime
import time
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from gateway.access.roles import Permission
from gateway.admin.models import roll_back_alias
from gateway.console.charts import Bar, columns
from gateway.console.visit import Visit
from gateway.stores.aliases import Alias

SHOWN_ROUNDS = 30
LIVE_S = 3600.0  # a state older than that is not called live


@dataclass(frozen=True, slots=True)
class Shown:
    """One federation as the page shows it: its state, its alias, and its curves."""

    state: dict[str, Any]
    alias: Alias | None
    when: str
    is_live: bool
    curves: list[Any]


async def rounds(visit: Visit) -> Response:
    visit.needs(Permission.READ_MODELS)
    aliases = {alias.name: alias for alias in await visit.parts.aliases.all()}
    federations = [_shown(visit, state, aliases.get(str(state["alias"]))) for state in await visit.parts.rounds.all()]
    told = {str(one.state["alias"]) for one in federations}
    others = [alias for name, alias in aliases.items() if name not in told]
    return visit.page("rounds", federations=federations, others=others)


async def alias_rolled_back(visit: Visit) -> Response:
    visit.needs(Permission.WRITE_MODELS)
    fields = await visit.form()
    await roll_back_alias(visit.parts, visit.who, fields.get("alias", ""), fields.get("target", ""))
    return visit.to("rounds")


def _shown(visit: Visit, state: dict[str, Any], alias: Alias | None) -> Shown:
    ended = state["rounds"][-SHOWN_ROUNDS:]
    curves = []
    for name, title in (("perplexity", "Held-out perplexity by round"), ("mean_loss", "Training loss by round"), ("epsilon", "Spent (ε)")):
        bars = [Bar(str(one["round_number"]), (("spent", float(one[name])),)) for one in ended if one[name] is not None]
        if bars:
            curves.append(columns(visit.words(title), bars, every=max(1, len(bars) // 10)))
    when = datetime.datetime.fromtimestamp(state["at_unix_s"], tz=datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
    return Shown({**state, "rounds": ended[::-1]}, alias, when, time.time() - float(state["told_unix_s"]) < LIVE_S, curves)
