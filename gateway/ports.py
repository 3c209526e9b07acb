"""The protocols that stages name; `gateway.app` hands them the adapters (backends, stores, the detector pool).

Every method may raise the typed errors of `gateway.errors`; nothing else may come out of an adapter.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from gateway.exchange import Api, ConversationScope, IssuedValue, Json, Principal, Routed, Sealed, ServedModel, Span, Target
from policies.schema import Policy


class Detector(Protocol):
    """Finds personal data. Raises DetectorFailed on a fault or a timeout: never an empty answer instead."""

    async def detect(self, texts: Sequence[str], policy: Policy, *, tenant: str | None = None) -> list[tuple[Span, ...]]:
        """The spans of each text, sorted, non-overlapping, thresholds of the policy applied.

        `tenant` says whose roster counts besides; None counts none.
        """
        ...


class SpanCache(Protocol):
    """Spans under a keyed hash of (text, policy digest, models, languages). Holds offsets and types, never text."""

    async def get_many(self, keys: Sequence[bytes]) -> list[tuple[Span, ...] | None]: ...

    async def put_many(self, entries: Mapping[bytes, tuple[Span, ...]], ttl_s: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Replaced:
    """Texts after replacement, what was issued in them, and counts by (entity, action)."""

    texts: tuple[str, ...] = field(repr=False)
    issued: tuple[IssuedValue, ...] = field(repr=False)
    counts: Mapping[tuple[str, str], int]


class Pseudonyms(Protocol):
    """Replaces spans by the policy's actions, the same value by the same token throughout a conversation.

    Raises PolicyRefusal where a `block` entity was found, StoreUnavailable where the vault can't be reached.
    """

    async def replace(
        self, scope: ConversationScope, texts: Sequence[str], spans: Sequence[Sequence[Span]], policy: Policy
    ) -> Replaced: ...


class Backend(Protocol):
    """A model server. Takes only `Routed`. Closing the iterator of `stream` cancels the upstream request."""

    async def complete(self, routed: Routed) -> Json: ...

    def stream(self, routed: Routed) -> AsyncIterator[Json]: ...


class ModelCatalogue(Protocol):
    """The model names that the gateway serves. Only these ever go upstream."""

    async def find(self, name: str, api: Api) -> ServedModel:
        """Raises UnknownModel, or UpstreamFailed while no server could be asked."""
        ...

    async def listing(self, api: Api | None = None) -> list[Json]:
        """One OpenAI `model` object a name: of every name, or of those that `api` takes."""
        ...


class KeyStore(Protocol):
    """API keys under a keyed hash."""

    async def find(self, presented_key: str) -> Principal | None: ...


class Attempts(Protocol):
    """Failed sign-ins, counted by where they come from."""

    async def failed(self, source: str) -> None:
        """Count one. Raises TooManyAttempts past the limit."""
        ...


class PolicyStore(Protocol):
    """Policies with versions. `resolve` gives the one that serves this principal, model and path, or PolicyRefusal."""

    async def resolve(self, principal: Principal, model: str, path: str) -> tuple[Policy, int]: ...


class Leased(Protocol):
    """What a request took of its limits. `headers` are OpenAI's x-ratelimit-*."""

    @property
    def headers(self) -> Mapping[str, str]: ...


Lease = TypeVar("Lease", bound=Leased)


class UseLimits(Protocol[Lease]):
    """Requests, tokens and streams of a key and a tenant."""

    async def take(self, principal: Principal, policy: Policy, *, tokens: int, stream: bool) -> Lease:
        """Raises RateLimited, having taken nothing."""
        ...

    async def settle(self, lease: Lease, *, tokens: int) -> None:
        """Correct the reservation to the tokens used, and end the stream."""
        ...


class AuditLog(Protocol):
    """Content-free records: `admission` stands before the first byte goes upstream, `outcome` after, whatever happens."""

    async def admission(self, record: Mapping[str, object]) -> None: ...

    async def outcome(self, record: Mapping[str, object]) -> None: ...


class Meter(Protocol):
    """Counts and times, under labels out of closed sets; it can carry no content."""

    def stage(self, name: str, seconds: float) -> None: ...

    def outcome(self, api: Api, outcome: str, seconds: float) -> None: ...

    def replaced(self, counts: Mapping[tuple[str, str], int]) -> None: ...

    def routed(self, target: Target) -> None: ...


class BoxLanes(Protocol):
    """The two parties of one blind request. Boxes are opaque."""

    async def put(self, party: int, box: bytes) -> None:
        """Raises UpstreamFailed."""
        ...

    async def take(self, party: int) -> bytes:
        """Raises UpstreamFailed where the party ended the request."""
        ...


class SealedRelay(Protocol):
    """Carries boxes to the parties. Takes only `Sealed`."""

    def allowance_bytes(self, sealed: Sealed) -> int:
        """The most bytes that a party may be sent for this many tokens. Raises TooLarge over the context."""
        ...

    def open(self, sealed: Sealed) -> AbstractAsyncContextManager[BoxLanes]:
        """Raises UpstreamFailed, UpstreamTimeout."""
        ...


class Tracer(Protocol):
    """Takes ended requests where tracing is on. `stages` are (name, begin in Unix seconds, seconds), in order."""

    def request(self, record: Mapping[str, object], begun_unix_s: float, stages: Sequence[tuple[str, float, float]]) -> None: ...


class PrivateServer(Protocol):
    """A model server that draws tokens privately (`gateway.dp.vllm_plugin`)."""

    async def proven_vocabulary(self, model: str) -> int:
        """The vocabulary size that the server proves by the plugin's handshake. Raises UpstreamFailed where it proves nothing."""
        ...

    async def pooled(self, routed: Routed) -> Json:
        """One choice drawn for a whole ensemble. Raises Unavailable where its rows could not be kept in step, UpstreamFailed."""
        ...
