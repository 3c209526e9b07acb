"""The ladder of frozen values that a request climbs: Received → Admitted → Scrubbed → Routed → Answered → Released.

Each type says what has been done. A backend takes only `Routed`; only `stages.route` makes one, from a `Scrubbed` that
only `stages.scrub` makes (a test reads the source and keeps it so). Text never shows in a repr.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from policies.schema import Limits, Policy

Api = Literal["chat.completions", "completions", "responses", "embeddings", "mpc.relay"]
Target = Literal["vllm", "mpc"]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: an API key of a tenant. `key_id` is public; the key itself is never kept.

    `models` (names, or prefixes ending in `*`) and `policies` (ids) narrow what the key may use; empty means any.
    `limits` are the key's own, beside those of the policy.
    """

    tenant: str
    key_id: str
    role: str = "caller"
    models: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class ConversationScope:
    """Whose values a conversation's pseudonyms stand for; all three are associated data of each vault entry."""

    tenant: str
    key_id: str
    conversation_id: str  # from the header, else a keyed hash: see stages.scrub


@dataclass(frozen=True, slots=True)
class Span:
    """A detected value: code points [start, end) of one text, its entity type and the detector's score (0 to 1)."""

    start: int
    end: int
    entity: str
    score: float


@dataclass(frozen=True, slots=True)
class IssuedValue:
    """One replacement that stands in this very request: `token` went upstream in place of the caller's `value`."""

    token: str = field(repr=False)
    value: str = field(repr=False)
    entity: str
    kind: Literal["surrogate", "placeholder", "encrypt"]


class AnswerText(Protocol):
    """One text of an answer (a choice's content, one call's arguments) as it arrives, restored and scanned piece by piece."""

    async def feed(self, piece: str) -> str:
        """What may be released after `piece`; the rest is held back because a value might begin in it."""
        ...

    async def finish(self) -> str:
        """What was held back, once the text is known to be over."""
        ...

    async def whole(self, text: str) -> str:
        """A text that arrived in one piece."""
        ...


@dataclass(frozen=True, slots=True)
class Received:
    """A request whose JSON was read within the limits. Which of its fields are known `stages.scrub` finds out."""

    request_id: str
    api: Api
    principal: Principal
    body: Json = field(repr=False)
    conversation_header: str | None = field(default=None, repr=False)
    received_unix_s: float = 0.0
    size_bytes: int = 0

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model name that the gateway serves, and what is known of its server."""

    name: str  # the caller's name for it
    upstream_name: str
    target: Target
    takes_cache_salt: bool = False  # vLLM does; other servers may refuse the field


@dataclass(frozen=True, slots=True)
class PrivateAdmission:
    """What a differentially private answer was admitted with: tokens at most, and the reservation that pays for them.

    `vocabulary` is the size that the model server proved in its handshake; None where nothing is drawn there.
    """

    reservation_id: str
    max_tokens: int
    vocabulary: int | None = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that a policy admits. The policy version is fixed here and holds to the end of the request."""

    received: Received
    policy: Policy
    policy_version: int
    served: ServedModel
    private: PrivateAdmission | None = None  # set exactly where the policy asks for differential privacy


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """A request whose every text leaf has been scrubbed. `counts` maps (entity, action) to occurrences."""

    admitted: Admitted
    scope: ConversationScope
    body: Json = field(repr=False)
    caller_texts: tuple[str, ...] = field(repr=False)  # the leaves as the caller wrote them
    issued: tuple[IssuedValue, ...] = field(repr=False)
    counts: Mapping[tuple[str, str], int]
    private_records: tuple[str, ...] = field(default=(), repr=False)  # each scrubbed alone, to placeholders that nothing reverses


@dataclass(frozen=True, slots=True)
class Routed:
    """A scrubbed request and where it goes. `model` is the name that the upstream knows."""

    scrubbed: Scrubbed
    target: Target
    model: str
    body: Json = field(repr=False)  # the scrubbed body as it goes upstream


@dataclass(frozen=True, slots=True)
class Answered:
    """What the model answered: a whole body, or the upstream's events one by one. Still in surrogates."""

    routed: Routed
    body: Json | None = field(repr=False)
    events: AsyncIterator[Json] | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Released:
    """What the caller gets: restored and scanned, whole or as events."""

    answered: Answered
    body: Json | None = field(repr=False)
    events: AsyncGenerator[Json, None] | None = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A blind request that a policy admits: the caller shares by itself, and the gateway carries boxes that it can't open.

    It is no rung of the ladder: nothing of it was scrubbed, and nothing that takes a `Routed` takes one of these.
    """

    admitted: Admitted
    tokens: int  # of prompt and answer together, as the caller announces them: rounded up
