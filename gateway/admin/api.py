"""The admin API under `/admin/v1`: policies, keys, budgets, statistics, audit, models, tenants, erasure, and a dry run, in one application.

Each endpoint names the permission that it needs (`gateway.access.roles`). Errors have the body of the public API's.
Changes to a policy need `If-Match` (RFC 9110 section 13.1.1); answers about one carry its `ETag`.
Annotations are evaluated here (no `from __future__`): FastAPI reads the local aliases out of them.
"""

import datetime
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from gateway.access.roles import Permission, require
from gateway.admin.acting import acting, refuse
from gateway.admin.audit import export_lines, verify_tenant
from gateway.admin.budgets import budget_rows
from gateway.admin.dry_run import try_policy
from gateway.admin.keys import create_key, revoke_key, rotate_key
from gateway.admin.models_api import add_models
from gateway.admin.parts import AdminParts
from gateway.admin.policies import apply_policy, parse_policy, remove_policy, rollback_policy
from gateway.admin.reference import reference_page
from gateway.admin.roster_api import add_rosters
from gateway.admin.search import Wanted, search
from gateway.admin.signing_in import sign_in
from gateway.admin.subjects_api import add_subjects
from gateway.audit.chain import public_key_text
from gateway.errors import BadRequest, Forbidden, LlmosError, Unauthenticated, Unavailable
from gateway.exchange import Principal
from gateway.http.bounded_body import BoundedBody
from gateway.stores.keys import KeyRecord
from gateway.stores.policies import PolicyVersion
from policies.diff import diff
from policies.explain import explain
from policies.schema import Limits

MAX_RECORDS = 1000
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@:/-]{0,127}$")]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PolicyBody(Body):
    """A policy as YAML, and why."""

    source: str
    reason: str = ""


class ReasonBody(Body):
    reason: str = ""


class KeyBody(Body):
    """A key to make."""

    tenant: Name
    role: str = "caller"
    label: Annotated[str, Field(max_length=100)] = ""
    models: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    limits: Limits = Limits()
    lifetime_s: Annotated[float, Field(gt=0)] | None = None


class RotateBody(Body):
    overlap_s: Annotated[float, Field(ge=0, le=30 * 86_400)] = 86_400.0


class ScrubBody(Body):
    """A text, and the policy to try on it: the id of one in the store, or a document."""

    text: str
    policy: str | None = None
    source: str | None = None


def admin_app(parts_of: Callable[[], AdminParts]) -> FastAPI:
    """The application; `parts_of` gives the parts once the gateway is open."""
    app = FastAPI(title="LLMOS administration", version="1", docs_url=None, redoc_url=None, redirect_slashes=False)

    def parts() -> AdminParts:
        return parts_of()

    Parts = Annotated[AdminParts, Depends(parts)]  # noqa: N806 - a type

    def allowed(permission: Permission) -> Any:
        async def check(request: Request, parts: Parts) -> Principal:
            scheme, _, credential = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not credential.strip():
                raise Unauthenticated("Send an admin key or an OIDC token as `Authorization: Bearer …`.")
            principal = await sign_in(parts, credential.strip(), request.client.host if request.client else "")
            try:
                require(principal, permission)
            except Forbidden as refused:
                route = getattr(request.scope.get("route"), "path", "")
                await refuse(parts, principal, "api", refused, method=request.method, path=route)
                raise
            return principal

        return Depends(check)

    IfMatch = Annotated[str | None, Header(alias="If-Match")]  # noqa: N806 - a type
    P = Permission  # noqa: N806 - a type

    @app.get("/policies", tags=["policies"], dependencies=[allowed(P.READ_POLICIES)])
    async def list_policies(parts: Parts) -> dict[str, Any]:
        """The policies that serve."""
        return {"data": [_policy_json(entry) for entry in await parts.policies.all()]}

    @app.get("/policies/{policy_id}", tags=["policies"], dependencies=[allowed(P.READ_POLICIES)])
    async def get_policy(policy_id: str, parts: Parts, response: Response) -> dict[str, Any]:
        """A policy: its source, what it means, and what that is in plain words."""
        entry = await parts.policies.get(policy_id)
        response.headers["etag"] = entry.etag
        meaning = {"effective": entry.policy.model_dump(mode="json"), "explained": explain(entry.policy)}
        return {**_policy_json(entry), "source": entry.source, **meaning}

    @app.get("/policies/{policy_id}/history", tags=["policies"], dependencies=[allowed(P.READ_POLICIES)])
    async def policy_history(policy_id: str, parts: Parts) -> dict[str, Any]:
        """Every version, the newest first."""
        return {"data": [{**_policy_json(entry), "source": entry.source} for entry in await parts.policies.history(policy_id)]}

    @app.put("/policies/{policy_id}", tags=["policies"])
    async def put_policy(
        policy_id: str,
        body: PolicyBody,
        parts: Parts,
        response: Response,
        who: Annotated[Principal, allowed(P.WRITE_POLICIES)],
        if_match: IfMatch = None,
    ) -> dict[str, Any]:
        """Put a policy in force. `If-Match` names the version that was changed; without it the policy must be new."""
        entry = await apply_policy(parts, who, body.source, reason=body.reason, if_match=if_match, policy_id=policy_id)
        response.headers["etag"] = entry.etag
        return _policy_json(entry)

    @app.delete("/policies/{policy_id}", tags=["policies"])
    async def delete_policy(
        policy_id: str, parts: Parts, who: Annotated[Principal, allowed(P.WRITE_POLICIES)], if_match: IfMatch = None
    ) -> dict[str, Any]:
        """Take a policy out of service; its history stays."""
        if if_match is None:
            raise BadRequest("Send If-Match with the ETag of the version to remove.", param="If-Match")
        return _policy_json(await remove_policy(parts, who, policy_id, reason="removed", if_match=if_match))

    @app.post("/policies/{policy_id}/rollback/{version}", tags=["policies"])
    async def rollback(
        policy_id: str, version: int, body: ReasonBody, parts: Parts, who: Annotated[Principal, allowed(P.WRITE_POLICIES)]
    ) -> dict[str, Any]:
        """Put an old version in force again, as a new one."""
        return _policy_json(await rollback_policy(parts, who, policy_id, version, reason=body.reason))

    @app.post("/policies/diff", tags=["policies"], dependencies=[allowed(P.READ_POLICIES)])
    async def diff_policy(body: PolicyBody, parts: Parts) -> dict[str, Any]:
        """What a document would change of the policy that serves under its id."""
        new = await parse_policy(parts, body.source)
        old = next((entry.policy for entry in await parts.policies.all() if entry.id == new.id), None)
        return {"data": [{"path": c.path, "kind": c.kind, "before": c.before, "after": c.after} for c in diff(old, new)]}

    @app.post("/scrub", tags=["policies"])
    async def scrub(body: ScrubBody, parts: Parts, who: Annotated[Principal, allowed(P.DRY_RUN)]) -> dict[str, Any]:
        """Try a policy on a text: what is found, what each rule does, what the model would receive. Nothing is kept."""
        if (body.policy is None) == (body.source is None):
            raise BadRequest("Give either `policy` (an id) or `source` (a document).", param="policy")
        if body.source is not None:
            policy = await parse_policy(parts, body.source)
        else:
            policy = (await parts.policies.get(body.policy or "")).policy
        async with acting(parts, who, "policy.try", policy=policy.id):
            tried = await try_policy(parts, policy, body.text, who.tenant)
        spans = [{"start": f.start, "end": f.end, "entity": f.entity, "score": f.score, "action": f.action.value} for f in tried.found]
        return {"spans": spans, "sent": tried.sent, "refusal": tried.refusal}

    @app.get("/keys", tags=["keys"], dependencies=[allowed(P.READ_KEYS)])
    async def list_keys(parts: Parts, tenant: str | None = None) -> dict[str, Any]:
        """Keys, never their text."""
        return {"data": [_key_json(record) for record in await parts.keys.all(tenant)]}

    @app.post("/keys", tags=["keys"], status_code=201)
    async def post_key(body: KeyBody, parts: Parts, who: Annotated[Principal, allowed(P.WRITE_KEYS)]) -> dict[str, Any]:
        """Make a key. Its text is in this answer and nowhere else."""
        key = await create_key(parts, who, **{name: getattr(body, name) for name in KeyBody.model_fields})
        return {**_key_json(await parts.keys.get(key.key_id)), "key": key.text}

    @app.post("/keys/{key_id}/rotate", tags=["keys"])
    async def rotate(key_id: str, body: RotateBody, parts: Parts, who: Annotated[Principal, allowed(P.WRITE_KEYS)]) -> dict[str, Any]:
        """Give a key a new text; the old one works for `overlap_s` more."""
        key = await rotate_key(parts, who, key_id, overlap_s=body.overlap_s)
        return {**_key_json(await parts.keys.get(key_id)), "key": key.text}

    @app.post("/keys/{key_id}/revoke", tags=["keys"])
    async def revoke(key_id: str, parts: Parts, who: Annotated[Principal, allowed(P.WRITE_KEYS)]) -> dict[str, Any]:
        """End a key on every replica within a second."""
        await revoke_key(parts, who, key_id)
        return _key_json(await parts.keys.get(key_id))

    @app.get("/budgets", tags=["budgets"], dependencies=[allowed(P.READ_BUDGETS)])
    async def budgets(parts: Parts) -> dict[str, Any]:
        """What each principal has spent of its privacy budget, and has left."""
        return {"data": [row.to_json() for row in await budget_rows(parts)]}

    @app.get("/statistics/{day}", tags=["statistics"])
    async def statistics(day: datetime.date, parts: Parts, who: Annotated[Principal, allowed(P.READ_STATISTICS)]) -> dict[str, Any]:
        """One whole UTC day's use of the caller's tenant, with noise. The first look at a day is paid from the analysts' budget."""
        if parts.statistics is None:
            raise Unavailable("Statistics are served by a running gateway.")
        counts = await parts.statistics.day(who.tenant, (day - datetime.date(1970, 1, 1)).days)
        return {"day": day.isoformat(), "counts": counts, "epsilon": parts.statistics.epsilon, "unit": "one API key, one day"}

    @app.get("/audit/records", tags=["audit"], dependencies=[allowed(P.READ_AUDIT)])
    async def audit_records(
        parts: Parts,
        tenant: str | None = None,
        request_id: str | None = None,
        key_id: str | None = None,
        kind: str | None = None,
        outcome: str | None = None,
        policy: str | None = None,
        since_unix_s: float | None = None,
        until_unix_s: float | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_RECORDS)] = 100,
    ) -> dict[str, Any]:
        """Matching records, the newest first."""
        wanted = Wanted(tenant, request_id, key_id, kind, outcome, policy, since_unix_s, until_unix_s)
        found: list[dict[str, Any]] = []
        async for record in search(parts.audit, wanted):
            found.append(record)
            if len(found) == limit:
                break
        return {"data": found}

    @app.get("/audit/verify", tags=["audit"], dependencies=[allowed(P.READ_AUDIT)])
    async def audit_verify(parts: Parts, tenant: str) -> dict[str, Any]:
        """Walk a tenant's log and name each fault."""
        report = await verify_tenant(parts, tenant)
        faults = [{"fault": f.fault, "first": f.first, "last": f.last, "says": str(f)} for f in report.findings]
        return {"tenant": tenant, "holds": report.holds, "records": report.records, "signed_seq": report.signed_seq, "findings": faults}

    @app.get("/audit/export", tags=["audit"], dependencies=[allowed(P.READ_AUDIT)], response_class=StreamingResponse)
    async def audit_export(parts: Parts, tenant: str, first: Annotated[int, Query(ge=1)] = 1) -> StreamingResponse:
        """A tenant's log as JSON lines that anybody can verify with the public key alone."""
        lines = export_lines(parts, tenant, first)
        opening = await anext(lines)

        async def whole() -> AsyncIterator[str]:
            yield opening + "\n"
            async for line in lines:
                yield line + "\n"

        return StreamingResponse(whole(), media_type="application/jsonl")

    @app.get("/audit/public-key", tags=["audit"], dependencies=[allowed(P.READ_AUDIT)])
    async def audit_public_key(parts: Parts) -> dict[str, Any]:
        """The Ed25519 key that verifies heads and exports."""
        return {"public_key": public_key_text(parts.audit_keys.public)}

    add_models(app, parts, allowed)
    add_subjects(app, parts, allowed)
    add_rosters(app, parts, allowed)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        """The OpenAPI page; it needs no outside asset."""
        return HTMLResponse(reference_page(app.openapi()), headers={"content-security-policy": PAGE_POLICY})

    app.add_middleware(BoundedBody)
    app.add_exception_handler(LlmosError, _llmos_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    return app


async def _llmos_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, LlmosError)
    headers = dict(error.headers)
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after_s)))
    if error.should_retry is not None:
        headers["x-should-retry"] = "true" if error.should_retry else "false"
    return JSONResponse(error.body(), status_code=error.status, headers=headers)


async def _invalid(request: Request, error: Exception) -> Response:
    """Names the field, never its value."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body")
    return await _llmos_error(request, BadRequest(f"{where or 'the body'}: {first['msg']}", param=where or None))


def _policy_json(entry: PolicyVersion) -> dict[str, Any]:
    return {
        "id": entry.id,
        "version": entry.version,
        "etag": entry.etag,
        "author": entry.author,
        "unix_s": entry.unix_s,
        "reason": entry.reason,
        "removed": entry.removed,
        "description": entry.policy.description,
        "match": entry.policy.match.model_dump(mode="json"),
    }


def _key_json(record: KeyRecord) -> dict[str, Any]:
    return {
        "key_id": record.key_id,
        "tenant": record.tenant,
        "role": record.role,
        "label": record.label,
        "state": record.state(time.time()),
        "created_unix_s": record.created_unix_s,
        "created_by": record.created_by,
        "expires_unix_s": record.expires_unix_s,
        "models": record.models,
        "policies": record.policies,
        "limits": record.limits.model_dump(),
    }
