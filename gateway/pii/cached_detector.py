"""A detector that remembers: spans by a keyed hash of the text, so that a conversation's turn pays for its new text only.

In front stands an LRU of this process, behind it the shared `SpanCache`. Keys are BLAKE2b with a secret key over the
text, the policy's digest, the models and the languages: without the key nobody can test whether a text was seen. Values
are offsets and types. A cache that can't be reached costs time, never safety: detection then simply runs.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from gateway.errors import StoreUnavailable
from gateway.exchange import Span
from gateway.pii.language_models import MODELS
from gateway.pii.policy_digest import policy_digest
from gateway.pii.roster.current import RosterFile, Rosters
from gateway.ports import SpanCache
from policies.schema import Policy


class TextsDetector(Protocol):
    """What detects: `detector_pool.DetectorPool`, or a fake of it."""

    async def detect(self, texts: Sequence[str], policy: Policy, *, roster: RosterFile | None = None) -> list[tuple[Span, ...]]: ...


class CachedDetector:
    """A `Detector` over the pool of processes.

    Args:
        detector: what runs for texts not seen before.
        cache: the shared cache, or None for this process's alone.
        rosters: the people that tenants know, or None where there are no rosters.
        key: 16 to 64 secret bytes, the same in every gateway process that shares the cache.
        ttl_s: how long the shared cache keeps an entry.
        entries: how many texts this process remembers.
    """

    def __init__(
        self,
        detector: TextsDetector,
        cache: SpanCache | None,
        *,
        key: bytes,
        rosters: Rosters | None = None,
        ttl_s: int = 3600,
        entries: int = 8192,
    ) -> None:
        if not 16 <= len(key) <= 64:
            raise ValueError("the key of the span cache must have 16 to 64 bytes")
        self._detector = detector
        self._cache = cache
        self._rosters = rosters
        self._key = key
        self._ttl_s = ttl_s
        self._entries = entries
        self._recent: OrderedDict[bytes, tuple[Span, ...]] = OrderedDict()

    def key_of(self, text: str, policy: Policy, roster: RosterFile | None = None) -> bytes:
        """32 bytes; a text's own bytes come last, after fixed-length and length-prefixed fields, so no two inputs collide.

        A roster's version is random and of one tenant, so that its spans serve no other tenant and end with the version.
        """
        names = "\0".join((*MODELS, roster.version if roster else "")).encode()
        state = hashlib.blake2b(key=self._key, digest_size=32, person=b"llmos-spans-v1")
        state.update(policy_digest(policy) + len(names).to_bytes(4, "big") + names)
        state.update(text.encode("utf-8", "surrogatepass"))
        return state.digest()

    async def detect(self, texts: Sequence[str], policy: Policy, *, tenant: str | None = None) -> list[tuple[Span, ...]]:
        """The spans of each text; only texts that no cache knows are analysed, each distinct one once.

        Raises:
            DetectorFailed: from the detector behind.
            StoreUnavailable: the tenant's roster can't be read.
        """
        roster = await self._rosters.current(tenant) if self._rosters is not None and tenant is not None else None
        if not policy.entities and roster is None:  # detection is off: a recognizer acts for an entity of the policy only
            return [()] * len(texts)
        keys = [self.key_of(text, policy, roster) for text in texts]
        found: dict[bytes, tuple[Span, ...]] = {}
        missing: dict[bytes, str] = {}
        for key, text in zip(keys, texts, strict=True):
            spans = self._recent.get(key)
            if spans is None:
                missing[key] = text
            else:
                self._recent.move_to_end(key)
                found[key] = spans
        if missing and self._cache is not None:
            for key, cached in zip(list(missing), await self._shared(list(missing)), strict=True):
                if cached is not None and _fits(cached, missing[key]):
                    found[key] = cached
                    del missing[key]
                    self._remember(key, cached)
        if missing:
            fresh = dict(zip(missing, await self._detector.detect(list(missing.values()), policy, roster=roster), strict=True))
            found.update(fresh)
            for key, spans in fresh.items():
                self._remember(key, spans)
            await self._share(fresh)
        return [found[key] for key in keys]

    def _remember(self, key: bytes, spans: tuple[Span, ...]) -> None:
        self._recent[key] = spans
        self._recent.move_to_end(key)
        if len(self._recent) > self._entries:
            self._recent.popitem(last=False)

    async def _shared(self, keys: list[bytes]) -> list[tuple[Span, ...] | None]:
        assert self._cache is not None
        try:
            return await self._cache.get_many(keys)
        except StoreUnavailable:
            return [None] * len(keys)

    async def _share(self, fresh: dict[bytes, tuple[Span, ...]]) -> None:
        if self._cache is None:
            return
        try:
            await self._cache.put_many(fresh, self._ttl_s)
        except StoreUnavailable:
            return


def _fits(spans: tuple[Span, ...], text: str) -> bool:
    """Whether cached spans are sorted, apart and inside the text: a damaged entry is analysed again, not trusted."""
    end = 0
    for span in spans:
        if span.start < end or span.end <= span.start or span.end > len(text):
            return False
        end = span.end
    return True
