"""What administration works with: the stores, and in a running gateway also detection and the health checks.

One value, opened by `gateway.app` for the admin API and the console, and by `gateway.admin.opening` for the commands.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from gateway.access.oidc import OidcVerifier
from gateway.audit.chain import AuditKeys
from gateway.backends.oidc_login import OidcLogin
from gateway.dp.analytics import Statistics
from gateway.pii.roster.current import Rosters
from gateway.pii.vault import Vault
from gateway.ports import Detector, Pseudonyms
from gateway.stores.aliases import ValkeyAliases
from gateway.stores.attempts import ValkeyAttempts
from gateway.stores.audit import ValkeyAudit
from gateway.stores.key_holders import KeyHolders
from gateway.stores.keys import ValkeyKeys
from gateway.stores.ledger import RedisLedger
from gateway.stores.policies import ValkeyPolicies
from gateway.stores.rounds import ValkeyRounds
from gateway.stores.sessions import ValkeySessions
from gateway.stores.tenants import ValkeyTenants
from gateway.stores.vault import RedisVaultStore


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a dry run needs: the same detection and replacement as a request's."""

    detector: Detector
    pseudonyms: Pseudonyms


@dataclass(frozen=True, slots=True)
class AdminParts:
    """`dry_run` is None where no detector runs; `oidc` where no issuer is configured; `statistics` outside a running gateway."""

    policies: ValkeyPolicies
    keys: ValkeyKeys
    key_holders: KeyHolders
    tenants: ValkeyTenants
    rosters: Rosters
    audit: ValkeyAudit
    audit_keys: AuditKeys = field(repr=False)
    ledger: RedisLedger
    aliases: ValkeyAliases
    rounds: ValkeyRounds
    sessions: ValkeySessions
    attempts: ValkeyAttempts
    vault: Vault
    vault_store: RedisVaultStore
    conversation_key: bytes | None = field(default=None, repr=False)
    dry_run: DryRun | None = None
    oidc: OidcVerifier | None = None
    oidc_login: OidcLogin | None = None
    statistics: Statistics | None = None
    checks: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
