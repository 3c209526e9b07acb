"""Open administration for one command, on the store directly.

Without LLMOS_REDIS_URL it shares the embedded Valkey of a running gateway, or starts one for as long as the command
lasts. Who may run it is who may read the master key: the operating system decides, not a role.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from gateway.admin.parts import AdminParts, DryRun
from gateway.admin.recall import recall_check
from gateway.audit.chain import AuditKeys
from gateway.errors import DetectorFailed
from gateway.exchange import Span
from gateway.pii.detector_pool import DetectorPool
from gateway.pii.keyring import KeyRing
from gateway.pii.pseudonyms import ConversationPseudonyms
from gateway.pii.vault import Vault
from gateway.serving.valkey import EmbeddedValkey
from gateway.settings import Settings
from gateway.stores.aliases import ValkeyAliases
from gateway.stores.audit import ValkeyAudit
from gateway.stores.audit_files import HeadsFile
from gateway.stores.keys import ValkeyKeys
from gateway.stores.ledger import RedisLedger
from gateway.stores.policies import ValkeyPolicies
from gateway.stores.sessions import ValkeySessions
from gateway.stores.tenants import ValkeyTenants
from gateway.stores.vault import RedisVaultStore
from policies.schema import Policy

STORE_TIMEOUT_S = 30.0


class LazyDetector:
    """A detector process that starts at the first text: most commands never need one."""

    def __init__(self, timeout_s: float) -> None:
        self._pool = DetectorPool(1, timeout_s=timeout_s)
        self._started = False

    async def detect(self, texts: Sequence[str], policy: Policy) -> list[tuple[Span, ...]]:
        """Raises DetectorFailed."""
        if not self._started:
            await self._pool.start()
            self._started = True
        return await self._pool.detect(texts, policy)

    async def stop(self) -> None:
        if self._started:
            with contextlib.suppress(DetectorFailed):
                await self._pool.stop()


@asynccontextmanager
async def open_administration(settings: Settings) -> AsyncIterator[AdminParts]:
    """Raises StoreUnavailable, KeyRingError, ValkeyStartError."""
    async with contextlib.AsyncExitStack() as stack:
        if settings.redis_url is None:
            url = stack.enter_context(EmbeddedValkey(settings.data_dir)).url
        else:
            url = settings.redis_url.get_secret_value()
        redis = Redis.from_url(url, socket_timeout=STORE_TIMEOUT_S, socket_connect_timeout=5.0)
        stack.push_async_callback(redis.aclose)
        ring = KeyRing.load_or_create(settings.master_key_path)
        detector = LazyDetector(settings.detect_timeout_s)
        stack.push_async_callback(detector.stop)
        tenants, vault_store = ValkeyTenants(redis), RedisVaultStore(redis)
        vault = Vault(vault_store, ring)
        audit_keys = AuditKeys.derive(ring.index_key("audit"))
        heads = HeadsFile(settings.data_dir / "audit" / "heads.jsonl")
        yield AdminParts(
            policies=await stack.enter_async_context(ValkeyPolicies(redis, check=recall_check(detector, tenants.all))),
            keys=ValkeyKeys(redis, ring.index_key("api-keys")),
            tenants=tenants,
            audit=await stack.enter_async_context(ValkeyAudit(redis, audit_keys, heads_file=heads)),
            audit_keys=audit_keys,
            ledger=RedisLedger(redis),
            aliases=ValkeyAliases(redis),
            sessions=ValkeySessions(redis),
            vault_store=vault_store,
            dry_run=DryRun(detector, ConversationPseudonyms(vault, ring), vault),
        )
