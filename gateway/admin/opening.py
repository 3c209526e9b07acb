"""Open administration for one command, on the store directly.

Without LLMOS_REDIS_URL it shares the embedded Valkey of a running gateway, or starts one for as long as the command
lasts. Who may run it is who may read the master key: the operating system decides, not a role.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.admin.parts import AdminParts, DryRun
from gateway.admin.recall import recall_check
from gateway.audit.chain import AuditKeys
from gateway.dp.admission import check_policy
from gateway.errors import InvalidPolicy
from gateway.pii.roster.current import Rosters
from gateway.pii.vault import Vault
from gateway.serving.keys import key_source
from gateway.serving.store import store_address
from gateway.serving.valkey import EmbeddedValkey
from gateway.settings import Settings
from gateway.stores.aliases import ValkeyAliases
from gateway.stores.attempts import ValkeyAttempts
from gateway.stores.audit import ValkeyAudit
from gateway.stores.audit_files import HeadsFile
from gateway.stores.connection import connect
from gateway.stores.key_holders import KeyHolders
from gateway.stores.keys import ValkeyKeys
from gateway.stores.ledger import RedisLedger
from gateway.stores.policies import Check, ValkeyPolicies
from gateway.stores.roster import RedisRosterStore
from gateway.stores.rounds import ValkeyRounds
from gateway.stores.sessions import ValkeySessions
from gateway.stores.tenants import ValkeyTenants
from gateway.stores.vault import RedisVaultStore
from policies.schema import Policy

STORE_TIMEOUT_S = 30.0
STORE_CONNECTIONS = 8


@asynccontextmanager
async def open_administration(settings: Settings, *, detection: bool = False) -> AsyncIterator[AdminParts]:
    """Raises StoreUnavailable, KeyRingError, ValkeyStartError.

    Without `detection` no text can be tried, and no policy with a recall floor applied.
    """
    async with contextlib.AsyncExitStack() as stack:
        if settings.redis_url is None:
            stack.enter_context(EmbeddedValkey(settings.data_dir))
        redis = connect(store_address(settings), timeout_s=STORE_TIMEOUT_S, max_connections=STORE_CONNECTIONS)
        stack.push_async_callback(redis.aclose)
        ring = key_source(settings).load_or_create()
        tenants, vault_store = ValkeyTenants(redis), RedisVaultStore(redis)
        vault = Vault(vault_store, ring)
        rosters = Rosters(RedisRosterStore(redis), ring, settings.data_dir / "rosters")
        dry_run: DryRun | None = None
        check: Check = _refuse_floors
        if detection:
            from gateway.admin.detection import LazyDetector, pseudonyms  # Presidio takes seconds to import; most commands need none

            detector = LazyDetector(settings.detect_timeout_s, rosters)
            stack.push_async_callback(detector.stop)
            dry_run, check = DryRun(detector, pseudonyms(vault, ring)), recall_check(detector, tenants.all)
        audit_keys = AuditKeys.derive(ring.index_key("audit"))
        heads = HeadsFile(settings.data_dir / "audit" / "heads.jsonl")
        yield AdminParts(
            policies=await stack.enter_async_context(ValkeyPolicies(redis, checks=(check_policy, check))),
            keys=ValkeyKeys(redis, ring.index_key("api-keys")),
            key_holders=KeyHolders(redis),
            tenants=tenants,
            rosters=rosters,
            audit=await stack.enter_async_context(ValkeyAudit(redis, audit_keys, heads_file=heads)),
            audit_keys=audit_keys,
            ledger=RedisLedger(redis),
            aliases=ValkeyAliases(redis),
            rounds=ValkeyRounds(redis),
            sessions=ValkeySessions(redis),
            attempts=ValkeyAttempts(redis, ring.index_key("attempts")),
            vault=vault,
            vault_store=vault_store,
            conversation_key=ring.index_key("conversation"),
            dry_run=dry_run,
        )


async def _refuse_floors(policy: Policy) -> None:
    if policy.recall_floor.asks:
        raise InvalidPolicy("A policy with a recall floor needs a detector to be applied.", param="recall_floor")
