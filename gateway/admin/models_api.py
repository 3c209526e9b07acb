"""The part of the admin API about served models: aliases, their canaries and traffic, rollback, and federated rounds.

A coordinator PUTs the state of its federation here while its rounds run; the console and `GET /rounds` show it. The trainer
reaches the gateway by these endpoints only. Annotations are evaluated here (no `from __future__`): FastAPI reads them.
"""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field

from gateway.access.roles import Permission
from gateway.admin.models import alias_traffic, forget_rounds, put_alias, remove_alias, roll_back_alias, tell_rounds
from gateway.admin.parts import AdminParts
from gateway.errors import BadRequest
from gateway.exchange import Principal
from gateway.stores.aliases import Alias

MAX_ROUNDS = 200
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@:/-]{0,127}$")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Sentence = Annotated[str, Field(max_length=500)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AliasBody(_Body):
    """Where requests for a model name go, and where a rollback goes."""

    name: Name
    target: Name
    canary_target: Name | None = None
    canary_fraction: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    previous: Name | None = None


class RollbackBody(_Body):
    """`target`: where the alias points now, so that nobody rolls back a version that they haven't seen."""

    target: Name


class RoundBody(_Body):
    """One round that ended: a version, or the reasons why there is none."""

    round_number: Annotated[int, Field(ge=0)]
    version: int | None = None
    clients: Annotated[int, Field(ge=0)] = 0
    mean_loss: Number | None = None
    perplexity: Number | None = None
    epsilon: Number | None = None
    seconds: Number = 0.0
    reasons: Annotated[tuple[Sentence, ...], Field(max_length=20)] = ()


class FederationBody(_Body):
    """What a coordinator is doing, and how its last rounds went, oldest first."""

    alias: Name
    stage: Annotated[str, Field(max_length=40)]
    what: Sentence
    at_unix_s: Number
    rounds: Annotated[tuple[RoundBody, ...], Field(max_length=MAX_ROUNDS)] = ()


def add_models(app: FastAPI, parts: Callable[[], AdminParts], allowed: Callable[[Permission], Any]) -> None:
    """Add the endpoints; `allowed` makes the dependency that signs in and asks for a permission."""
    Parts = Annotated[AdminParts, Depends(parts)]  # noqa: N806 - a type
    P = Permission  # noqa: N806 - a type

    @app.get("/models", tags=["models"], dependencies=[allowed(P.READ_MODELS)])
    async def models(parts: Parts) -> dict[str, Any]:
        """Model aliases, their canaries and their ways back."""
        return {"data": [_alias_json(alias) for alias in await parts.aliases.all()]}

    @app.put("/models/{alias}", tags=["models"])
    async def put_model(alias: str, body: AliasBody, parts: Parts, who: Annotated[Principal, allowed(P.WRITE_MODELS)]) -> dict[str, Any]:
        """Point an alias at a model, with a share of the requests to a canary."""
        if body.name != alias:
            raise BadRequest("The body's `name` is not the one in the path.", param="name")
        made = Alias(**body.model_dump())
        await put_alias(parts, who, made)
        return _alias_json(made)

    @app.delete("/models/{alias}", tags=["models"], status_code=204)
    async def delete_model(alias: str, parts: Parts, who: Annotated[Principal, allowed(P.WRITE_MODELS)]) -> None:
        """Remove an alias; its name then means the model of that name, if one is served."""
        await remove_alias(parts, who, alias)

    @app.post("/models/{alias}/rollback", tags=["models"])
    async def rollback_model(
        alias: str, body: RollbackBody, parts: Parts, who: Annotated[Principal, allowed(P.WRITE_MODELS)]
    ) -> dict[str, Any]:
        """Point an alias back at its previous model, on every replica within a second; requests in flight end where they began."""
        return _alias_json(await roll_back_alias(parts, who, alias, body.target))

    @app.get("/models/{alias}/traffic", tags=["models"], dependencies=[allowed(P.READ_MODELS)])
    async def traffic(alias: str, parts: Parts, since_unix_s: Annotated[float, Query(ge=0)]) -> dict[str, Any]:
        """What each model behind an alias answered since a time: requests, failures, median seconds."""
        seen = await alias_traffic(parts.audit, alias, since_unix_s)
        rows = [{"target": t, "requests": s.requests, "failed": s.failed, "median_s": s.median_s} for t, s in sorted(seen.items())]
        return {"data": rows}

    @app.get("/rounds", tags=["rounds"], dependencies=[allowed(P.READ_MODELS)])
    async def rounds(parts: Parts) -> dict[str, Any]:
        """Federations: what each coordinator is doing, and how its rounds went."""
        return {"data": await parts.rounds.all()}

    @app.put("/rounds/{federation}", tags=["rounds"], status_code=204)
    async def put_rounds(federation: Name, body: FederationBody, parts: Parts, who: Annotated[Principal, allowed(P.WRITE_MODELS)]) -> None:
        """A coordinator tells the state of its federation; a round that ended goes to the audit."""
        await tell_rounds(parts, who, federation, body.model_dump())

    @app.delete("/rounds/{federation}", tags=["rounds"], status_code=204)
    async def delete_rounds(federation: str, parts: Parts, who: Annotated[Principal, allowed(P.WRITE_MODELS)]) -> None:
        """Forget a federation's state; versions and aliases stay."""
        await forget_rounds(parts, who, federation)


def _alias_json(alias: Alias) -> dict[str, Any]:
    return {
        "name": alias.name,
        "target": alias.target,
        "canary_target": alias.canary_target,
        "canary_fraction": alias.canary_fraction,
        "previous": alias.previous,
    }
