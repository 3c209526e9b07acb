"""One visit to a page of the console: who is signed in, in which language, and how to answer.

A POST is taken only from our own pages: the browser says so (Sec-Fetch-Site, or Origin), and the form carries the
session's CSRF token. What a page shows in its menu follows the role; what it does is checked again where it is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from gateway.access.roles import Permission, may, require
from gateway.admin.parts import AdminParts
from gateway.console.words import LANGUAGES, chosen, translator
from gateway.errors import Forbidden, Unauthenticated
from gateway.exchange import Principal
from gateway.stores.sessions import Session

COOKIE = "llmos_console"
LANGUAGE_COOKIE = "llmos_language"
STATE_COOKIE = "llmos_oidc_state"
PAGES = (
    ("playground", "Playground", Permission.DRY_RUN),
    ("policies", "Policies", Permission.READ_POLICIES),
    ("keys", "Keys", Permission.READ_KEYS),
    ("budgets", "Budgets", Permission.READ_BUDGETS),
    ("rounds", "Rounds", Permission.READ_MODELS),
    ("audit", "Audit", Permission.READ_AUDIT),
    ("traffic", "Traffic", Permission.READ_AUDIT),
    ("health", "Health", Permission.READ_HEALTH),
)


class Visit:
    """One request to the console: its session, its language, and how it answers."""

    def __init__(self, request: Request, parts: AdminParts, templates: Environment, session: Session | None) -> None:
        self.request = request
        self.parts = parts
        self.session = session
        self.language = chosen(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", ""))
        self.words = translator(self.language)
        self._templates = templates

    @property
    def who(self) -> Principal:
        assert self.session is not None
        return self.session.principal

    @property
    def peer(self) -> str:
        """The network address that the request came from."""
        return self.request.client.host if self.request.client else ""

    @property
    def is_secure(self) -> bool:
        return self.request.url.scheme == "https"

    @property
    def path(self) -> str:
        """Of cookies: the console's own."""
        return self.request.scope.get("root_path") or "/"

    def needs(self, permission: Permission) -> Session:
        """Raises Unauthenticated without a session, Forbidden without the permission."""
        if self.session is None:
            raise Unauthenticated("Sign in first.")
        require(self.session.principal, permission)
        return self.session

    async def form(self) -> Mapping[str, str]:
        """The form of a POST. Raises Forbidden where it does not come from one of our pages."""
        _same_site(self.request)
        fields = {name: value for name, value in (await self.request.form()).items() if isinstance(value, str)}
        if self.session is not None and not self.session.csrf_holds(fields.get("csrf", "")):
            raise Forbidden("This form is too old. Load the page again.")
        return fields

    def page(self, name: str, status: int = 200, **values: Any) -> Response:
        """The page `name`.html."""
        principal = self.session.principal if self.session is not None else None
        menu = [(path, title) for path, title, permission in PAGES if principal is not None and may(principal, permission)]
        text = self._templates.get_template(f"{name}.html").render(
            t=self.words,
            language=self.language,
            languages=LANGUAGES,
            menu=menu,
            here=name,
            principal=principal,
            csrf=self.session.csrf if self.session is not None else "",
            oidc=self.parts.oidc_login is not None,
            root=self.request.scope.get("root_path", ""),
            can={permission.name: principal is not None and may(principal, permission) for permission in Permission},
            **values,
        )
        return HTMLResponse(text, status_code=status)

    def to(self, path: str) -> Response:
        """Go to another page of the console."""
        return RedirectResponse(f"{self.request.scope.get('root_path', '')}/{path}", status_code=303)


def _same_site(request: Request) -> None:
    """Raises Forbidden for a POST that another site's page sent."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    host = request.headers.get("host")
    if site not in (None, "same-origin", "none") or (origin is not None and origin.partition("://")[2] != host):
        raise Forbidden("This form was sent by another site.")
