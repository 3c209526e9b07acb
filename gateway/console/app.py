"""The console under `/console`: pages over the same operations as the admin API.

No page has a script: the Content-Security-Policy allows none. A session ends with its key. It protects against other
sites and other users; not against who reads the administrator's screen or browser.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import resources
from pathlib import Path

from fastapi import FastAPI
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from gateway.admin.parts import AdminParts
from gateway.console.pages import ROUTES, Handler
from gateway.console.visit import COOKIE, Visit
from gateway.errors import LlmosError, NotFound, Unauthenticated
from gateway.http.bounded_body import BoundedBody
from gateway.stores.sessions import Session

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # under no-referrer a browser sends `Origin: null` with our own forms
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


def console_app(parts_of: Callable[[], AdminParts]) -> FastAPI:
    """The application; `parts_of` gives the parts once the gateway is open."""
    templates = Environment(
        loader=PackageLoader("gateway.console"), autoescape=select_autoescape(default=True), undefined=StrictUndefined, trim_blocks=True
    )
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_middleware(BoundedBody)
    app.mount("/static", StaticFiles(directory=Path(str(resources.files("gateway.console") / "static"))))
    for path, method, handler in ROUTES:
        app.router.add_route(path, _endpoint(handler, parts_of, templates), methods=[method])
    return app


def _endpoint(handler: Handler, parts_of: Callable[[], AdminParts], templates: Environment) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        parts = parts_of()
        visit = Visit(request, parts, templates, None)
        try:
            visit.session = await _session(request, parts)
            response = await handler(visit)
        except Unauthenticated as refused:
            visit.session = None
            tried = request.method == "POST" or request.url.path.endswith("/oidc/callback")
            response = visit.page("sign_in", refused.status, error=refused.message if tried else None)
        except LlmosError as failed:
            response = visit.page("error", failed.status, message=failed.message, code=failed.code)
        response.headers.update(HEADERS)
        return response

    return endpoint


async def _session(request: Request, parts: AdminParts) -> Session | None:
    """The session of the cookie, unless its key has ended since."""
    token = request.cookies.get(COOKIE)
    session = await parts.sessions.find(token) if token else None
    if session is None or session.principal.key_id.startswith("oidc:"):
        return session
    try:
        record = await parts.keys.get(session.principal.key_id)
    except NotFound:
        return None
    if record.state(parts.keys.now()) != "active":
        await parts.sessions.end(session.token)
        return None
    return session
