"""An act of administration stands in the audit before it is done, and how it ended after.

What can't be recorded is not done. The first record says `begun`; the second `ok`, or the code of the error that refused the
act. Who acts is a principal: a key, a person with an OIDC token, or whoever runs a command on the gateway's machine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.admin.parts import AdminParts
from gateway.errors import LlmosError
from gateway.exchange import Principal


@asynccontextmanager
async def acting(parts: AdminParts, who: Principal, action: str, **about: object) -> AsyncIterator[dict[str, object]]:
    """Around one act. What the body puts into the yielded mapping joins the second record. Raises StoreUnavailable."""
    learned: dict[str, object] = {}
    record = {"action": action, "actor": who.key_id, "role": who.role, **about}
    await parts.audit.admin({**record, "outcome": "begun"})
    try:
        yield learned
    except LlmosError as refused:
        await parts.audit.admin_outcome({**record, **learned, "outcome": refused.code, "status": refused.status})
        raise
    await parts.audit.admin_outcome({**record, **learned, "outcome": "ok"})


async def refuse(parts: AdminParts, who: Principal, action: str, error: LlmosError, **about: object) -> None:
    """Record an act that was refused before it began."""
    outcome = {"outcome": error.code, "status": error.status}
    await parts.audit.admin({"action": action, "actor": who.key_id, "role": who.role, **about, **outcome})
