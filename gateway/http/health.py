"""/healthz says that the process lives, /readyz that each part that it needs answers.

Neither asks for a key, so neither tells more than names of parts and whether they answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from gateway.errors import LlmosError

router = APIRouter(tags=["health"])
Check = Callable[[], Awaitable[None]]
_TIMEOUT_S = 5.0


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request) -> JSONResponse:
    """Every part answers (200), or which does not (503). A gateway that is stopping says so, while it finishes what it has."""
    if request.app.state.draining:
        return JSONResponse({"status": "stopping", "parts": {}}, status_code=503)
    checks: Mapping[str, Check] = request.app.state.checks
    outcomes: list[str] = await asyncio.gather(*(_outcome(check) for check in checks.values()))
    parts: dict[str, Any] = dict(zip(checks, outcomes, strict=True))
    ready = all(outcome == "ok" for outcome in outcomes)
    return JSONResponse({"status": "ready" if ready else "not ready", "parts": parts}, status_code=200 if ready else 503)


async def _outcome(check: Check) -> str:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await check()
    except LlmosError as error:
        return error.code
    except TimeoutError:
        return "timeout"
    return "ok"
