"""What a policy says, as strict frozen models: an unknown field is an error that names the nearest known one.

A policy is reviewed data. It holds no secret and no deployment setting (those stand in `gateway.settings`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from policies.dp import DpRule
from policies.patterns import compile_pattern
from policies.strict import Strict as Strict


class Action(StrEnum):
    """What happens to a detected value before the text goes upstream."""

    SURROGATE = "surrogate"  # a realistic value of the same shape, reversible through the vault
    PLACEHOLDER = "placeholder"  # a short self-delimiting tag, reversible through the vault
    MASK = "mask"  # characters replaced by asterisks, not reversible
    REDACT = "redact"  # removed, not reversible
    HASH = "hash"  # a keyed hash, linkable within a tenant, not reversible by the gateway
    ENCRYPT = "encrypt"  # AEAD ciphertext in place, reversible with the tenant's key
    BLOCK = "block"  # the request is refused
    ALLOW = "allow"  # left as it is


class EntityRule(Strict):
    """What to do with one entity type, and from which detector score (0 to 1) on."""

    action: Action = Action.SURROGATE
    score: Annotated[float, Field(ge=0.0, le=1.0)] = 0.4


class RegexPattern(Strict):
    """One regular expression (RE2 syntax: linear time) with the score of a match before context."""

    regex: Annotated[str, Field(min_length=1, max_length=2000)]
    score: Annotated[float, Field(ge=0.0, le=1.0)] = 0.6

    @field_validator("regex")
    @classmethod
    def _runs_in_linear_time(cls, regex: str) -> str:
        compile_pattern(regex)
        return regex


class CustomRecognizer(Strict):
    """A tenant's own recognizer: patterns, words that raise the score when near, a checksum, deny and allow lists."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
    entity: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
    languages: tuple[Literal["en", "zh"], ...] = ("en", "zh")
    patterns: tuple[RegexPattern, ...] = ()
    context: tuple[str, ...] = ()
    validation: Literal["luhn", "mod97", "mod11_2"] | None = None
    deny_list: tuple[str, ...] = ()
    allow_list: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _finds_something(self) -> CustomRecognizer:
        if not self.patterns and not self.deny_list:
            raise ValueError(f"recognizer {self.name!r} has neither `patterns` nor a `deny_list`, so it would find nothing")
        return self


class Match(Strict):
    """Which requests a policy serves. An empty list matches all; every non-empty list must match.

    `keys` are key ids. `models` and `paths` may end in `*`, which stands for any rest. Among the policies that match,
    the most specific one serves: see `policies.resolve`.
    """

    tenants: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    @field_validator("models", "paths")
    @classmethod
    def _star_stands_last(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if "*" in name[:-1]:
                raise ValueError(f"in {name!r}: `*` may stand only at the end")
        return names


class ResponseRule(Strict):
    """What happens to the answer. `scan` finds personal data that was never the caller's."""

    restore: bool = True
    scan: Literal["off", "patterns", "ner"] = "patterns"
    action: Literal["mask", "redact", "placeholder", "block"] = "mask"


class RouteRule(Strict):
    """A condition (all parts must hold; empty parts hold) and where the query then goes."""

    models: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    to: Literal["vllm", "mpc", "refuse"] = "vllm"


class Routing(Strict):
    """Rules are tried in order; the first that holds decides, else `default`."""

    rules: tuple[RouteRule, ...] = ()
    default: Literal["vllm", "mpc", "refuse"] = "vllm"


class Limits(Strict):
    """Bounds of one principal's use. None means no bound of this kind."""

    requests_per_minute: Annotated[int, Field(gt=0)] | None = None
    tokens_per_minute: Annotated[int, Field(gt=0)] | None = None
    concurrent_streams: Annotated[int, Field(gt=0)] | None = None


class Retention(Strict):
    """How long the vault keeps a conversation's values after their last use, in seconds."""

    vault_ttl_s: Annotated[int, Field(gt=0, le=31_536_000)] = 86_400


class AuditRule(Strict):
    """How much an audit record says. `minimal` leaves out the counts by entity; text is in neither."""

    level: Literal["full", "minimal"] = "full"


class FailureRule(Strict):
    """What happens when a part fails. Whatever this does not name is refused, and nothing goes upstream.

    `answer_scan`: the language model that scans an answer (`response.scan: ner`) fails in the middle of one. `stop` breaks the answer
    off; `patterns_only` goes on with the patterns alone, so that a name which was never the caller's can pass.
    """

    answer_scan: Literal["stop", "patterns_only"] = "stop"


class RecallFloor(Strict):
    """The share of a tenant's own labelled spans that must be found before this policy may serve it in production.

    Recall is the share of labelled spans that detection covers whole, over all entities and by entity.
    """

    overall: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    entities: dict[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")], Annotated[float, Field(ge=0.0, le=1.0)]] = Field(
        default_factory=dict
    )

    @property
    def asks(self) -> bool:
        return self.overall is not None or bool(self.entities)


class Policy(Strict):
    """One policy. `extends` names the pack or policy whose fields this one overrides (see `policies.merge`)."""

    schema_version: Literal[1] = 1
    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
    description: str = ""
    extends: str | None = None
    match: Match = Match()
    languages: tuple[Literal["en", "zh"], ...] = ("en", "zh")
    entities: dict[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")], EntityRule] = Field(default_factory=dict)
    recognizers: tuple[CustomRecognizer, ...] = ()
    response: ResponseRule = ResponseRule()
    routing: Routing = Routing()
    limits: Limits = Limits()  # of one key
    tenant_limits: Limits = Limits()  # of all keys of a tenant together
    retention: Retention = Retention()
    audit: AuditRule = AuditRule()
    on_failure: FailureRule = FailureRule()
    recall_floor: RecallFloor = RecallFloor()
    dp: DpRule | None = None
    blind: Literal["refuse", "allow"] = (
        "refuse"  # whether callers may share by themselves: their text is then never seen here, nor scrubbed
    )
    allowed_fields: tuple[str, ...] = ()  # request fields outside the known list that this policy lets through unscrubbed

    @model_validator(mode="after")
    def _blind_text_has_no_noise(self) -> Policy:
        if self.blind == "allow" and self.dp is not None:
            raise ValueError("`blind: allow` and `dp` exclude each other: the gateway can't add noise to an answer that it can't see")
        return self
