"""Which path is served by what.

`gateway.app` hands over a lifespan that opens the parts; tests hand over one that opens others behind the same ports. The paths that reach
a model are raw ASGI (`gateway.http.inference`), the rest are ordinary FastAPI routes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from gateway.errors import BadRequest, LlmosError
from gateway.exchange import Api
from gateway.http import health, models
from gateway.http.edge import Edge
from gateway.http.health import Check
from gateway.http.inference import InferenceEndpoint
from gateway.http.limits import Gate, WireLimits
from gateway.http.metrics import PrometheusMeter, metrics
from gateway.http.relay import RelayEndpoint
from gateway.http.replies import error_headers
from gateway.pipeline import Parts

INFERENCE: dict[str, Api] = {
    "/v1/chat/completions": "chat.completions",
    "/v1/completions": "completions",
    "/v1/responses": "responses",
    "/v1/embeddings": "embeddings",
}


@dataclass(frozen=True, slots=True)
class Opened:
    """What a lifespan opens: the parts of the pipeline, and a check for each that can fail."""

    parts: Parts
    checks: Mapping[str, Check]


Opener = Callable[[PrometheusMeter], AbstractAsyncContextManager[Opened]]


def assemble(limits: WireLimits, opener: Opener) -> FastAPI:
    """The application. `opener` is entered at start and left at shutdown."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        meter = PrometheusMeter()
        async with opener(meter) as opened:
            app.state.parts = opened.parts
            app.state.checks = opened.checks
            app.state.meter = meter
            app.state.metrics_need_key = limits.metrics_need_key
            gate.changed, gate.turned_away = meter.in_progress.set, meter.turned_away.inc
            yield

    app = FastAPI(title="LLMOS", lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    gate = app.state.gate = Gate(limits.max_concurrent_requests)
    app.state.draining = False  # set by the server that runs the application, when it is told to stop
    for path, api in INFERENCE.items():
        app.router.routes.append(Route(path, InferenceEndpoint(api, limits, gate), methods=["POST"]))
    app.router.routes.append(Route("/v1/mpc/relay", RelayEndpoint(limits, gate), methods=["POST"]))
    app.router.routes.append(Route("/metrics", metrics, methods=["GET"]))
    app.include_router(health.router)
    app.include_router(models.router)
    app.add_exception_handler(LlmosError, _llmos_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_middleware(Edge)
    return app


async def _llmos_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, LlmosError)
    return JSONResponse(error.body(), status_code=error.status, headers=error_headers(error))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = {404: "There is nothing at this path.", 405: "This path does not take this method."}.get(error.status_code, "Bad request.")
    return JSONResponse(BadRequest(message).body(), status_code=error.status_code, headers=error.headers)
