"""The pages of the console, one function a page or an act.

Each reads its form, asks for its permission, calls the operation of `gateway.admin`, and renders a template.
"""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from markupsafe import Markup, escape
from starlette.responses import RedirectResponse, Response

from gateway.access.roles import ROLES, Permission, may
from gateway.admin.audit import verify_tenant
from gateway.admin.budgets import budget_rows
from gateway.admin.dry_run import Tried, try_policy
from gateway.admin.keys import create_key, revoke_key, rotate_key
from gateway.admin.policies import apply_policy, parse_policy, rollback_policy
from gateway.admin.search import Wanted, newest
from gateway.admin.signing_in import provider_address, sign_in, sign_in_by_code
from gateway.console.charts import Bar, columns, rows
from gateway.console.models import alias_rolled_back, rounds
from gateway.console.traffic import HOURS, traffic
from gateway.console.visit import COOKIE, LANGUAGE_COOKIE, PAGES, STATE_COOKIE, Visit
from gateway.console.words import LANGUAGES
from gateway.errors import BadRequest, InvalidPolicy, LlmosError, NotFound
from gateway.exchange import Principal
from gateway.stores.sessions import SIGN_IN_S
from policies.diff import diff
from policies.explain import explain
from policies.load import pack_names, pack_text
from policies.schema import Action, Match

Handler = Callable[[Visit], Awaitable[Response]]
SHOWN_RECORDS = 100
CHECK_TIMEOUT_S = 5.0
SAMPLE = (
    "Dr. Sarah Connor (MRN 4471-882) saw Luis Ortega, born 12 March 1961, at 14 Bell Street, Portland.\n"
    "Call 415-555-0132 or write to luis.ortega@example.org. Card 4111 1111 1111 1111.\n"
    "患者王小明，手机 13812345678，住在上海市黄浦区中山东一路 12 号。"
)


async def home(visit: Visit) -> Response:
    """To the first page that the role may see, else to the sign-in."""
    if visit.session is None:
        return visit.page("sign_in", error=None)
    principal = visit.session.principal
    for path, _, permission in PAGES:
        if may(principal, permission):
            return visit.to(path)
    return visit.page("error", 403, message=f"The role {principal.role!r} has no page here.", code="forbidden")


async def signed_in(visit: Visit) -> Response:
    visit.session = None  # a sign-in begins a session of its own: the old one's token proves nothing here
    fields = await visit.form()
    principal = await sign_in(visit.parts, fields.get("credential", "").strip(), visit.peer)
    return await _begun(visit, principal, visit.to(""))


async def at_the_provider(visit: Visit) -> Response:
    """To the OIDC provider's sign-in."""
    address, state = await provider_address(visit.parts)
    response = RedirectResponse(address, status_code=303)
    # Lax, since the browser comes back from another site; it proves only that the sign-in was begun in this browser
    response.set_cookie(STATE_COOKIE, state, httponly=True, samesite="lax", secure=visit.is_secure, max_age=SIGN_IN_S, path=visit.path)
    return response


async def back_from_the_provider(visit: Visit) -> Response:
    """A page that goes on by itself: a redirect would still count as the other site's, and the browser would keep the cookie back."""
    visit.session = None
    query, cookies = visit.request.query_params, visit.request.cookies
    state, kept_state = query.get("state", ""), cookies.get(STATE_COOKIE, "")
    principal = await sign_in_by_code(visit.parts, state, kept_state, query.get("code", ""), visit.peer)
    response = await _begun(visit, principal, visit.page("signed_in"))
    response.delete_cookie(STATE_COOKIE, path=visit.path)
    return response


async def _begun(visit: Visit, principal: Principal, response: Response) -> Response:
    session = await visit.parts.sessions.begin(principal)
    await visit.parts.audit.admin({"action": "sign_in", "actor": principal.key_id, "role": principal.role, "outcome": "ok"})
    response.set_cookie(COOKIE, session.token, httponly=True, samesite="strict", secure=visit.is_secure, path=visit.path)
    return response


async def signed_out(visit: Visit) -> Response:
    await visit.form()
    if visit.session is not None:
        await visit.parts.sessions.end(visit.session.token)
    response = visit.to("")
    response.delete_cookie(COOKIE, path=visit.path)
    return response


async def language(visit: Visit) -> Response:
    """Choose a language; a link, since it changes nothing but words."""
    wanted = visit.request.query_params.get("to", "")
    response = visit.to("")
    if wanted in LANGUAGES:
        response.set_cookie(LANGUAGE_COOKIE, wanted, samesite="strict", httponly=True, max_age=365 * 86_400)
    return response


async def playground(visit: Visit) -> Response:
    visit.needs(Permission.DRY_RUN)
    names = [entry.id for entry in await visit.parts.policies.all()]
    return visit.page("playground", names=names, packs=_packs(names), chosen="", text=SAMPLE, marked=None, tried=None, shown=[])


async def played(visit: Visit) -> Response:
    session = visit.needs(Permission.DRY_RUN)
    fields = await visit.form()
    text, name = fields.get("text", "").replace("\r\n", "\n"), fields.get("policy", "")
    stored = {entry.id: entry.policy for entry in await visit.parts.policies.all()}
    policy = stored[name] if name in stored else await parse_policy(visit.parts, _pack(name))
    tried = await try_policy(visit.parts, policy, text, session.principal.tenant)
    names, marked, shown = list(stored), _marked(text, tried), _shown(text, tried)
    return visit.page("playground", names=names, packs=_packs(names), chosen=name, text=text, marked=marked, tried=tried, shown=shown)


async def policies(visit: Visit) -> Response:
    visit.needs(Permission.READ_POLICIES)
    listed = [(entry, _serves(entry.policy.match, visit), _utc(entry.unix_s)) for entry in await visit.parts.policies.all()]
    return visit.page("policies", entries=listed, packs=pack_names())


async def policy(visit: Visit) -> Response:
    visit.needs(Permission.READ_POLICIES)
    policy_id = visit.request.query_params.get("id", "")
    pack = visit.request.query_params.get("pack", "")
    if pack:
        source, etag, versions, words = f"id: my-policy\nextends: {pack}\nmatch:\n  tenants: []\n", "", [], []
        policy_id = ""
    else:
        entry = await visit.parts.policies.get(policy_id)
        source, etag, words = entry.source, entry.etag, explain(entry.policy)
        versions = [(each, _utc(each.unix_s)) for each in await visit.parts.policies.history(policy_id)]
    return visit.page("policy", policy_id=policy_id, source=source, etag=etag, versions=versions, words=words, error=None)


async def policy_changed(visit: Visit) -> Response:
    """First what would change; put in force by a second POST that carries the same ETag."""
    visit.needs(Permission.WRITE_POLICIES)
    fields = await visit.form()
    source, etag = fields.get("source", "").replace("\r\n", "\n"), fields.get("etag", "")
    try:
        new = await parse_policy(visit.parts, source)
        if fields.get("act") == "apply":
            entry = await apply_policy(visit.parts, visit.who, source, reason=fields.get("reason", ""), if_match=etag or None)
            return visit.to(f"policy?id={entry.id}")
        old = next((entry.policy for entry in await visit.parts.policies.all() if entry.id == new.id), None)
    except InvalidPolicy as bad:
        return visit.page("policy", bad.status, policy_id="", source=source, etag=etag, versions=[], words=[], error=bad.message)
    if fields.get("act") == "edit":
        return visit.page("policy", policy_id=new.id, source=source, etag=etag, versions=[], words=explain(new), error=None)
    return visit.page("policy_diff", policy_id=new.id, source=source, etag=etag, changes=diff(old, new), words=explain(new))


async def policy_rolled_back(visit: Visit) -> Response:
    visit.needs(Permission.WRITE_POLICIES)
    fields = await visit.form()
    policy_id = fields.get("id", "")
    await rollback_policy(visit.parts, visit.who, policy_id, _whole(fields.get("version", "")), reason=fields.get("reason", ""))
    return visit.to(f"policy?id={policy_id}")


async def keys(visit: Visit) -> Response:
    visit.needs(Permission.READ_KEYS)
    return await _keys_page(visit, made=None)


async def key_changed(visit: Visit) -> Response:
    visit.needs(Permission.WRITE_KEYS)
    fields = await visit.form()
    made = None
    match fields.get("act"):
        case "create":
            days = fields.get("days", "").strip()
            made = await create_key(
                visit.parts,
                visit.who,
                tenant=fields.get("tenant", "").strip(),
                role=fields.get("role", "caller"),
                label=fields.get("label", "")[:100],
                lifetime_s=_whole(days) * 86_400.0 if days else None,
            )
        case "rotate":
            made = await rotate_key(visit.parts, visit.who, fields.get("key_id", ""), overlap_s=86_400.0)
        case "revoke":
            await revoke_key(visit.parts, visit.who, fields.get("key_id", ""))
            return visit.to("keys")
        case _:
            raise BadRequest("There is no such act.")
    return await _keys_page(visit, made=made)


async def _keys_page(visit: Visit, made: object) -> Response:
    now = time.time()
    listed = [
        (record, record.state(now), _utc(record.expires_unix_s) if record.expires_unix_s is not None else "")
        for record in await visit.parts.keys.all()
    ]
    return visit.page("keys", records=listed, roles=ROLES, made=made)


async def budgets(visit: Visit) -> Response:
    visit.needs(Permission.READ_BUDGETS)
    found = await budget_rows(visit.parts)
    by_day: dict[int, float] = {}
    for row in found:
        for day, epsilon in row.days:
            by_day[day] = by_day.get(day, 0.0) + epsilon
    bars = [Bar(_day(day), (("spent", epsilon),)) for day, epsilon in sorted(by_day.items())[-30:]]
    resets = {row.account: _utc(row.resets_unix_s) if row.resets_unix_s is not None else "" for row in found}
    chart = columns(visit.words("Spent by day (ε)"), bars, every=max(1, len(bars) // 8)) if bars else None
    return visit.page("budgets", found=found, resets=resets, chart=chart, bars=bars)


async def audit(visit: Visit) -> Response:
    visit.needs(Permission.READ_AUDIT)
    query = {name: value.strip() for name, value in visit.request.query_params.items() if value.strip()}
    tenants = await visit.parts.audit.tenants()
    reports = []
    if query.get("verify") in tenants:
        reports.append(await verify_tenant(visit.parts, query["verify"]))
    wanted = Wanted(
        query.get("tenant"), query.get("request_id"), query.get("key_id"), query.get("kind"), query.get("outcome"), query.get("policy")
    )
    found = [(record, _utc(float(record["unix_s"]))) for record in await newest(visit.parts.audit, wanted, SHOWN_RECORDS)]
    return visit.page("audit", records=found, tenants=tenants, query=query, reports=reports)


async def traffic_page(visit: Visit) -> Response:
    visit.needs(Permission.READ_AUDIT)
    seen = await traffic(visit.parts.audit, time.time())
    hours = [
        Bar(
            f"−{ago} h" if (ago := HOURS - 1 - i) else visit.words("now"),
            tuple((kind, float(counts[kind])) for kind in ("served", "refused", "failed")),
        )
        for i, counts in enumerate(reversed(seen.by_hour))
    ]
    totals: dict[str, float] = {}
    for (entity, _), number in seen.entities.items():
        totals[entity] = totals.get(entity, 0.0) + number
    entities = [Bar(name, (("spent", value),)) for name, value in sorted(totals.items(), key=lambda item: -item[1])[:12]]
    return visit.page(
        "traffic",
        seen=seen,
        hours=hours,
        chart=columns(visit.words("Requests by hour"), hours, every=4),
        entity_chart=rows(visit.words("Detected values by entity"), entities),
    )


async def health(visit: Visit) -> Response:
    visit.needs(Permission.READ_HEALTH)
    checks = visit.parts.checks
    answers = await asyncio.gather(*(_answer(check) for check in checks.values()))
    return visit.page("health", answers=list(zip(checks, answers, strict=True)))


async def _answer(check: Callable[[], Awaitable[None]]) -> str:
    """Empty where the part answers, else the code of what it said."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check()
    except LlmosError as failed:
        return failed.code
    except TimeoutError:
        return "timeout"
    return ""


@dataclass(frozen=True, slots=True)
class Shown:
    """A found value as a row of a table."""

    value: str
    entity: str
    action: str
    score: str


def _shown(text: str, tried: Tried) -> list[Shown]:
    return [Shown(text[f.start : f.end], f.entity, f.action.value, f"{f.score:.2f}") for f in tried.found]


def _marked(text: str, tried: Tried) -> Markup:
    """The text with each found value in a <mark> that says what it is; all of it escaped."""
    pieces, at = [], 0
    for found in tried.found:
        kind = "allow" if found.action is Action.ALLOW else "block" if found.action is Action.BLOCK else "hide"
        mark = Markup('<mark class="{}">{}<span class="entity">{} · {}</span></mark>').format(
            kind, text[found.start : found.end], found.entity, found.action.value
        )
        pieces += [escape(text[at : found.start]), mark]
        at = found.end
    return Markup("").join([*pieces, escape(text[at:])])


def _serves(match: Match, visit: Visit) -> str:
    named = [*match.tenants, *match.keys, *match.models, *match.paths]
    return ", ".join(named) or visit.words("everything that no other policy matches")


def _packs(stored: list[str]) -> list[str]:
    return [name for name in pack_names() if name not in stored]


def _pack(name: str) -> str:
    if name not in pack_names():
        raise NotFound("There is no such policy.")
    return pack_text(name)


def _whole(text: str) -> int:
    if not text.isdecimal() or len(text) > 6:
        raise BadRequest("A whole number is missing.")
    return int(text)


def _utc(unix_s: float) -> str:
    return datetime.datetime.fromtimestamp(unix_s, tz=datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def _day(unix_s: int) -> str:
    return datetime.datetime.fromtimestamp(unix_s, tz=datetime.UTC).strftime("%m-%d")


ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("/", "GET", home),
    ("/sign-in", "POST", signed_in),
    ("/sign-out", "POST", signed_out),
    ("/oidc/start", "GET", at_the_provider),
    ("/oidc/callback", "GET", back_from_the_provider),
    ("/language", "GET", language),
    ("/playground", "GET", playground),
    ("/playground", "POST", played),
    ("/policies", "GET", policies),
    ("/policy", "GET", policy),
    ("/policy", "POST", policy_changed),
    ("/policy/rollback", "POST", policy_rolled_back),
    ("/keys", "GET", keys),
    ("/keys", "POST", key_changed),
    ("/budgets", "GET", budgets),
    ("/rounds", "GET", rounds),
    ("/rounds/rollback", "POST", alias_rolled_back),
    ("/audit", "GET", audit),
    ("/traffic", "GET", traffic_page),
    ("/health", "GET", health),
)
