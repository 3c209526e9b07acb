"""Detection for a command: a process that starts at the first text."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.exchange import Span
from gateway.pii.detector_pool import DetectorPool
from gateway.pii.keyring import KeyRing
from gateway.pii.pseudonyms import ConversationPseudonyms
from gateway.pii.vault import Vault
from policies.schema import Policy

START_TIMEOUT_S = 300.0


class LazyDetector:
    """A detector process that starts at the first text: most commands never need one."""

    def __init__(self, timeout_s: float) -> None:
        self._pool = DetectorPool(1, timeout_s=timeout_s, start_timeout_s=START_TIMEOUT_S)
        self._started = False

    async def detect(self, texts: Sequence[str], policy: Policy) -> list[tuple[Span, ...]]:
        """Raises DetectorFailed."""
        if not self._started:
            await self._pool.start()
            self._started = True
        return await self._pool.detect(texts, policy)

    async def stop(self) -> None:
        if self._started:
            await self._pool.stop()


def pseudonyms(vault: Vault, ring: KeyRing) -> ConversationPseudonyms:
    """The same replacement as in a running gateway."""
    return ConversationPseudonyms(vault, ring)
