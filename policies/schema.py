"""What a policy says, as strict frozen models: an unknown field is an error that names the nearest known one.

A policy is reviewed data. It holds no secret and no deployment setting (those stand in `gateway.settings`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from policies.dp import DpRule
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


class Match(Strict):
    """Which requests a policy serves. An empty list matches all; every non-empty list must match."""

    tenants: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


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


class Policy(Strict):
    """One policy. `extends` names a pack whose fields this one overrides (see `policies.load`)."""

    schema_version: Literal[1] = 1
    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
    description: str = ""
    extends: str | None = None
    match: Match = Match()
    languages: tuple[Literal["en", "zh"], ...] = ("en", "zh")
    entities: dict[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")], EntityRule] = {}
    recognizers: tuple[CustomRecognizer, ...] = ()
    response: ResponseRule = ResponseRule()
    routing: Routing = Routing()
    limits: Limits = Limits()
    retention: Retention = Retention()
    dp: DpRule | None = None
    allowed_fields: tuple[str, ...] = ()  # request fields outside the known list that this policy lets through unscrubbed
