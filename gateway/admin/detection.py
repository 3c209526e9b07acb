"""Detection for a command: a process that starts at the first text."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.exchange import Span
from gateway.pii.detector_pool import DetectorPool
from gateway.pii.keyring import KeyRing
from gateway.pii.pseudonyms import ConversationPseudonyms
from gateway.pii.roster.current import Rosters
from gateway.pii.vault import Vault
from policies.schema import Policy

START_TIMEOUT_S = 300.0


class LazyDetector:
    """A detector process that starts at the first text: most commands never need one."""

    def __init__(self, timeout_s: float, rosters: Rosters) -> None:
        self._rosters = rosters
        self._pool = DetectorPool(1, timeout_s=timeout_s, start_timeout_s=START_TIMEOUT_S)
        self._started = False

    async def detect(self, texts: Sequence[str], policy: Policy, *, tenant: str | None = None) -> list[tuple[Span, ...]]:
        """Raises DetectorFailed, StoreUnavailable."""
        if not self._started:
            await self._pool.start()
            self._started = True
        return await self._pool.detect(texts, policy, roster=None if tenant is None else await self._rosters.current(tenant))

    async def stop(self) -> None:
        if self._started:
            await self._pool.stop()


def pseudonyms(vault: Vault, ring: KeyRing) -> ConversationPseudonyms:
    """The same replacement as in a running gateway."""
    return ConversationPseudonyms(vault, ring)
