"""Administration over a real, empty Valkey, and a client for each role."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from gateway.access.roles import ROLES
from gateway.admin.api import admin_app
from gateway.admin.parts import AdminParts, DryRun
from gateway.admin.recall import recall_check
from gateway.audit.chain import AuditKeys
from gateway.dp.analytics import AnalyticsRule, Statistics
from gateway.exchange import Span
from gateway.pii.keyring import KeyRing
from gateway.pii.pseudonyms import ConversationPseudonyms
from gateway.pii.roster.current import Rosters
from gateway.pii.vault import Vault
from gateway.stores.aliases import ValkeyAliases
from gateway.stores.attempts import ValkeyAttempts
from gateway.stores.audit import ValkeyAudit
from gateway.stores.audit_files import HeadsFile
from gateway.stores.key_holders import KeyHolders
from gateway.stores.keys import ValkeyKeys
from gateway.stores.ledger import RedisLedger
from gateway.stores.policies import ValkeyPolicies
from gateway.stores.roster import RedisRosterStore
from gateway.stores.rounds import ValkeyRounds
from gateway.stores.sessions import ValkeySessions
from gateway.stores.statistics import AuditedOutcomes, ValkeyReleases
from gateway.stores.tenants import ValkeyTenants
from gateway.stores.vault import RedisVaultStore
from policies.dp import Budget
from policies.schema import Policy

TWO_DAYS = AnalyticsRule(epsilon=1e4, bound=3, budget=Budget(epsilon=2e4))  # hardly any noise: the counts can be told


class Names:
    """A detector that knows one name, behind the real port."""

    async def detect(self, texts: Sequence[str], policy: Policy, *, tenant: str | None = None) -> list[tuple[Span, ...]]:
        found = [(text.find("Sarah Connor"), text) for text in texts]
        return [(Span(at, at + 12, "PERSON", 0.9),) if at >= 0 else () for at, _ in found]


@pytest.fixture
async def parts(valkey: str, tmp_path: Path) -> AsyncIterator[AdminParts]:
    ring, detector = KeyRing.generate(), Names()
    async with contextlib.AsyncExitStack() as stack:
        redis = await stack.enter_async_context(Redis.from_url(valkey))
        tenants, vault_store = ValkeyTenants(redis), RedisVaultStore(redis)
        vault, audit_keys = Vault(vault_store, ring), AuditKeys.derive(ring.index_key("audit"))
        heads = HeadsFile(tmp_path / "heads.jsonl")
        policies = ValkeyPolicies(redis, checks=(recall_check(detector, tenants.all),))
        audit, ledger = await stack.enter_async_context(ValkeyAudit(redis, audit_keys, heads_file=heads)), RedisLedger(redis)
        yield AdminParts(
            policies=await stack.enter_async_context(policies),
            keys=await stack.enter_async_context(ValkeyKeys(redis, ring.index_key("api-keys"))),
            key_holders=KeyHolders(redis),
            tenants=tenants,
            rosters=Rosters(RedisRosterStore(redis), ring, tmp_path / "rosters"),
            audit=audit,
            audit_keys=audit_keys,
            ledger=ledger,
            aliases=ValkeyAliases(redis),
            rounds=ValkeyRounds(redis),
            sessions=ValkeySessions(redis),
            attempts=ValkeyAttempts(redis, ring.index_key("attempts")),
            vault=vault,
            vault_store=vault_store,
            conversation_key=ring.index_key("conversation"),
            dry_run=DryRun(detector, ConversationPseudonyms(vault, ring)),
            statistics=Statistics(AuditedOutcomes(audit), ledger, ValkeyReleases(redis), TWO_DAYS, time.time),
        )


@dataclass(frozen=True)
class Clients:
    """A client of the admin API for each role, by name."""

    by_role: dict[str, httpx.AsyncClient]
    anonymous: httpx.AsyncClient

    def __getitem__(self, role: str) -> httpx.AsyncClient:
        return self.by_role[role]


@pytest.fixture
async def clients(parts: AdminParts) -> AsyncIterator[Clients]:
    app = admin_app(lambda: parts)

    def client(**headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway", headers=headers)

    made = {role: await parts.keys.create(tenant="acme", role=role, created_by="test") for role in ROLES}
    async with contextlib.AsyncExitStack() as stack:
        by_role = {role: await stack.enter_async_context(client(authorization=f"Bearer {key.text}")) for role, key in made.items()}
        yield Clients(by_role, await stack.enter_async_context(client()))
