"""The composition root: from settings to a running application.

Here, and nowhere else, the adapters (stores, backends, the detector's processes) meet the ports that the stages name. `llmos serve` calls
`create_app`; the lifespan opens everything in order and closes it in reverse. The Redis server has to run already.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import httpx
import structlog
from fastapi import FastAPI
from redis.asyncio import Redis

from gateway.access.oidc import OidcSettings, OidcVerifier
from gateway.admin.api import admin_app
from gateway.admin.parts import AdminParts, DryRun
from gateway.admin.recall import recall_check
from gateway.audit.chain import AuditKeys
from gateway.backends.aliased_catalogue import AliasedCatalogue
from gateway.backends.catalogue import Catalogue
from gateway.backends.jwks import HttpJwks
from gateway.backends.mpc_catalogue import WithMpc
from gateway.backends.oidc_login import OidcClient, OidcLogin
from gateway.backends.openai_http import OpenAIBackend, OpenAIServer
from gateway.backends.private_vllm import PrivateVllm
from gateway.console.app import console_app
from gateway.dp.admission import check_policy
from gateway.dp.analytics import AnalyticsRule, Statistics
from gateway.errors import DetectorFailed, LlmosError, UpstreamFailed
from gateway.exchange import Principal, Target
from gateway.http.health import Check
from gateway.http.limits import WireLimits
from gateway.http.metrics import PrometheusMeter
from gateway.http.routes import Opened, assemble
from gateway.pii.cached_detector import CachedDetector
from gateway.pii.detector_pool import DetectorPool
from gateway.pii.keyring import KeyRingError
from gateway.pii.pseudonyms import ConversationPseudonyms
from gateway.pii.roster.current import Rosters
from gateway.pii.vault import Vault
from gateway.pipeline import Parts
from gateway.ports import Backend, ModelCatalogue, SealedRelay, Tracer
from gateway.serving.keys import key_source
from gateway.serving.store import store_address
from gateway.settings import Settings, SettingsError
from gateway.stages.scrub import Bounds
from gateway.stores.aliases import ValkeyAliases
from gateway.stores.attempts import ValkeyAttempts
from gateway.stores.audit import ValkeyAudit
from gateway.stores.audit_files import HeadsFile, Spool
from gateway.stores.connection import check_fitness, connect
from gateway.stores.key_holders import KeyHolders
from gateway.stores.keys import ValkeyKeys
from gateway.stores.ledger import RedisLedger
from gateway.stores.limits import ValkeyLimits
from gateway.stores.policies import ValkeyPolicies
from gateway.stores.roster import RedisRosterStore
from gateway.stores.rounds import ValkeyRounds
from gateway.stores.sessions import ValkeySessions
from gateway.stores.span_cache import RedisSpanCache
from gateway.stores.statistics import AuditedOutcomes, ValkeyReleases
from gateway.stores.tenants import ValkeyTenants
from gateway.stores.vault import RedisVaultStore
from policies.dp import StructuredRule

if TYPE_CHECKING:
    from gateway.backends.mpc import MpcServer

_log = structlog.get_logger(__name__)

FIRST_POLICY = "default"
LOCAL_TENANT = "local"
_STORE_TIMEOUT_S = 2.0
_STORE_CONNECTIONS = 64


def create_app(settings: Settings, *, warm: bool = False) -> FastAPI:
    """The gateway as an ASGI application. Raises SettingsError where no upstream is named.

    Detectors load in the background, and requests wait for them; with `warm` the start waits instead.
    """
    if settings.upstream is None:
        raise SettingsError("LLMOS_UPSTREAM is not set; name an OpenAI-compatible server, such as http://127.0.0.1:8001/v1")
    limits = WireLimits(
        max_body_bytes=settings.max_body_bytes,
        request_timeout_s=settings.request_timeout_s,
        max_concurrent_requests=settings.max_concurrent_requests,
        metrics_need_key=settings.env == "production",
        may_show_sent=settings.env == "development",
    )

    mpc = _mpc_server(settings)

    @asynccontextmanager
    async def opener(meter: PrometheusMeter) -> AsyncIterator[Opened]:
        async with AsyncExitStack() as stack:
            with _told_in_words():
                opened, app.state.administration = await _open(settings, mpc, meter, stack, warm)
            yield opened

    def administration() -> AdminParts:
        parts: AdminParts = app.state.administration
        return parts

    app = assemble(limits, opener)
    app.mount("/admin/v1", admin_app(administration))
    app.mount("/console", console_app(administration))
    return app


@contextmanager
def _told_in_words() -> Iterator[None]:
    """What keeps the gateway from starting is said on standard error: the server logs it without its message."""
    try:
        yield
    except (SettingsError, KeyRingError) as error:
        print(f"llmos: {error}", file=sys.stderr)
        raise
    except LlmosError as error:
        print(f"llmos: {error.message}", file=sys.stderr)
        raise


async def _open(
    settings: Settings, mpc: MpcServer | None, meter: PrometheusMeter, stack: AsyncExitStack, warm: bool
) -> tuple[Opened, AdminParts]:
    ring = key_source(settings).load_or_create()
    redis = connect(store_address(settings), timeout_s=_STORE_TIMEOUT_S, max_connections=_STORE_CONNECTIONS)
    stack.push_async_callback(redis.aclose)
    key_holders = KeyHolders(redis)
    await stack.enter_async_context(key_holders.announced(ring))
    generating, embedding = _servers(settings, stack)
    pool = DetectorPool(settings.detector_workers, timeout_s=settings.detect_timeout_s)
    stack.push_async_callback(pool.stop)
    if warm:
        await pool.start()
    else:
        pool.begin()
    keys = await stack.enter_async_context(ValkeyKeys(redis, ring.index_key("api-keys")))
    rosters = Rosters(RedisRosterStore(redis), ring, settings.data_dir / "rosters")
    detector = CachedDetector(pool, RedisSpanCache(redis), key=ring.index_key("spans"), rosters=rosters)
    tenants, aliases = ValkeyTenants(redis), ValkeyAliases(redis)
    floors = recall_check(detector, tenants.all)
    policies = await stack.enter_async_context(ValkeyPolicies(redis, checks=(check_policy, floors)))
    await policies.seed(FIRST_POLICY)
    audit_dir = settings.data_dir / "audit"
    audit_keys = AuditKeys.derive(ring.index_key("audit"))
    spool = Spool.adopting(audit_dir)
    stack.callback(spool.close)
    audit = await stack.enter_async_context(ValkeyAudit(redis, audit_keys, spool=spool, heads_file=HeadsFile(audit_dir / "heads.jsonl")))
    await _accept_dev_key(settings, keys)
    attempts = ValkeyAttempts(redis, ring.index_key("attempts"))
    vault_store, ledger = RedisVaultStore(redis), RedisLedger(redis)
    vault = Vault(vault_store, ring)
    pseudonyms = ConversationPseudonyms(vault, ring)
    catalogue: ModelCatalogue = Catalogue(generating, embedding, settings.models)
    backends: dict[Target, Backend] = {"vllm": OpenAIBackend(generating, embedding)}
    relay: SealedRelay | None = None
    if mpc is not None:
        catalogue, backends["mpc"], relay = _with_mpc(mpc, settings, catalogue, meter, stack)
    private_server = PrivateVllm(generating)
    parts = Parts(
        keys=keys,
        attempts=attempts,
        policies=policies,
        catalogue=AliasedCatalogue(catalogue, aliases.find),
        limits=ValkeyLimits(redis, lease_s=settings.request_timeout_s + 60),
        detector=detector,
        pseudonyms=pseudonyms,
        private_server=private_server,
        ledger=ledger,
        backends=backends,
        audit=audit,
        meter=meter,
        bounds=Bounds(max_depth=settings.max_depth, max_items=settings.max_messages),
        conversation_key=ring.index_key("conversation"),
        salt_key=ring.index_key("cache-salt"),
        relay=relay,
        tracer=_tracer(settings, stack),
    )
    checks = {**_checks(redis, pool, generating, policies), **({} if mpc is None else {"mpc": mpc.ready})}
    oidc, oidc_login = await _oidc(settings, stack)
    administration = AdminParts(
        policies=policies,
        keys=keys,
        key_holders=key_holders,
        tenants=tenants,
        rosters=rosters,
        audit=audit,
        audit_keys=audit_keys,
        ledger=ledger,
        aliases=aliases,
        rounds=ValkeyRounds(redis),
        sessions=ValkeySessions(redis),
        attempts=attempts,
        vault=vault,
        vault_store=vault_store,
        conversation_key=ring.index_key("conversation"),
        dry_run=DryRun(detector, pseudonyms),
        oidc=oidc,
        oidc_login=oidc_login,
        statistics=Statistics(AuditedOutcomes(audit), ledger, ValkeyReleases(redis), AnalyticsRule(), time.time),
        checks=checks,
    )
    announcement = asyncio.create_task(_say_who_draws(policies, private_server, generating))
    stack.callback(announcement.cancel)
    return Opened(parts, checks), administration


async def _say_who_draws(policies: ValkeyPolicies, private_server: PrivateVllm, generating: OpenAIServer) -> None:
    """The start-up handshake: where a policy has tokens drawn in the model server, log whether that can. Each request is checked again."""
    rules = [entry.policy.dp for entry in await policies.all() if entry.policy.dp is not None]
    if all(isinstance(rule.mechanism, StructuredRule) for rule in rules):
        return
    try:
        for model in await generating.models():
            await private_server.proven_vocabulary(model["id"])
            _log.info("private_sampling_proven", model=model["id"])
    except LlmosError as error:
        _log.warning("private_sampling_not_proven", fault=error.code, effect="policies that draw in the model server are refused")


def _mpc_server(settings: Settings) -> MpcServer | None:
    """Secret-shared inference, where it is configured; its libraries are an extra, so they are imported here."""
    if settings.mpc_config is None:
        return None
    try:
        from gateway.backends.mpc import MpcServer
        from mpc_inference.errors import MpcError
    except ImportError as error:
        raise SettingsError(f"LLMOS_MPC_CONFIG is set, but {error.name} is not installed: pip install 'llmos[mpc]'") from None
    try:
        return MpcServer(settings.mpc_config)
    except MpcError as error:
        raise SettingsError(f"LLMOS_MPC_CONFIG: {error}") from None


def _with_mpc(
    mpc: MpcServer, settings: Settings, models: ModelCatalogue, meter: PrometheusMeter, stack: AsyncExitStack
) -> tuple[ModelCatalogue, Backend, SealedRelay]:
    from gateway.backends.mpc import MpcBackend
    from gateway.backends.mpc_relay import MpcRelay

    stack.callback(mpc.close)
    return WithMpc(models, settings.mpc_model), MpcBackend(mpc, meter.mpc_token), MpcRelay(mpc)


def _tracer(settings: Settings, stack: AsyncExitStack) -> Tracer | None:
    """OpenTelemetry, where an endpoint is set; its libraries are an extra, so they are imported here."""
    if settings.otlp_endpoint is None:
        return None
    try:
        from gateway.backends.otel import OtelTracer
    except ImportError as error:
        raise SettingsError(f"LLMOS_OTLP_ENDPOINT is set, but {error.name} is not installed: pip install 'llmos[tracing]'") from None
    tracer = OtelTracer(settings.otlp_endpoint)
    stack.push_async_callback(asyncio.to_thread, tracer.close)
    return tracer


async def _oidc(settings: Settings, stack: AsyncExitStack) -> tuple[OidcVerifier | None, OidcLogin | None]:
    """It calls out by itself, and only where an issuer is set: tokens are checked, and where a client is set people sign in by it."""
    if settings.oidc_issuer is None:
        return None, None
    client = await stack.enter_async_context(httpx.AsyncClient(timeout=settings.upstream_connect_timeout_s, follow_redirects=False))
    issuer, jwks = settings.oidc_issuer, HttpJwks(client, settings.oidc_issuer)
    verifier = OidcVerifier(OidcSettings(issuer, settings.oidc_audience), jwks)
    if settings.oidc_client_id is None or settings.oidc_redirect_url is None:
        return verifier, None
    secret = settings.oidc_client_secret.get_secret_value() if settings.oidc_client_secret else None
    registered = OidcClient(issuer, settings.oidc_client_id, settings.oidc_redirect_url, secret)
    return verifier, OidcLogin(client, registered, OidcVerifier(OidcSettings(issuer, settings.oidc_client_id), jwks))


def _servers(settings: Settings, stack: AsyncExitStack) -> tuple[OpenAIServer, OpenAIServer | None]:
    key = settings.upstream_api_key.get_secret_value() if settings.upstream_api_key else None
    tls = _upstream_tls(settings)

    def server(url: str) -> OpenAIServer:
        opened = OpenAIServer(
            url,
            key,
            connect_timeout_s=settings.upstream_connect_timeout_s,
            idle_timeout_s=settings.upstream_idle_timeout_s,
            max_connections=settings.max_concurrent_requests,
            tls=tls,
        )
        stack.push_async_callback(opened.aclose)
        return opened

    assert settings.upstream is not None
    return server(settings.upstream), server(settings.embeddings_upstream) if settings.embeddings_upstream else None


def _upstream_tls(settings: Settings) -> ssl.SSLContext:
    """Raises SettingsError where a certificate can't be read."""
    try:
        context = ssl.create_default_context(cafile=settings.upstream_ca_file)
        if settings.upstream_cert_file is not None:
            context.load_cert_chain(settings.upstream_cert_file, settings.upstream_key_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"the certificates for the upstream can't be used ({error.__class__.__name__}); see LLMOS_UPSTREAM_*") from None
    return context


async def _accept_dev_key(settings: Settings, keys: ValkeyKeys) -> None:
    """The key for one's own machine; settings refuse it in production."""
    if settings.dev_key is None:
        return
    text = settings.dev_key.get_secret_value()
    if await keys.find(text) is None:
        await keys.create(tenant=LOCAL_TENANT, role="caller", label="LLMOS_DEV_KEY", created_by="settings", text=text)


def _checks(redis: Redis, pool: DetectorPool, generating: OpenAIServer, policies: ValkeyPolicies) -> Mapping[str, Check]:
    async def store() -> None:
        await check_fitness(redis)

    async def detector() -> None:
        if not pool.worker_pids:
            raise pool.fault or DetectorFailed("No detector process runs yet.")

    async def upstream() -> None:
        if not await generating.models():
            raise UpstreamFailed("The model server lists no model.")

    async def policy() -> None:
        await policies.resolve(Principal(LOCAL_TENANT, "readiness"), "", "")

    return {"store": store, "detector": detector, "upstream": upstream, "policy": policy}
