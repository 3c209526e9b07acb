"""The differential-privacy section of a policy, checked in full when the policy is loaded.

A mechanism says how the answer is noised; a budget says how much of it a principal may use in a window. What a wrong number
could break later is refused here: epsilon not positive or not finite, delta outside (0, 1), bounds reversed, an open or
recursive schema, a leaf without a mechanism. It does not say what the mechanisms guarantee: see docs/privacy-claims.md.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from policies.dp_schema import Leaf, leaves_of
from policies.strict import Strict

Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Delta = Annotated[float, Field(gt=0.0, lt=1.0, allow_inf_nan=False)]
MAX_RANGE = 30.0


class Window(Strict):
    """Over which time the budget holds: whole UTC periods (`calendar`) or the last `seconds` (`rolling`)."""

    kind: Literal["calendar", "rolling"] = "calendar"
    period: Literal["hour", "day", "week", "month"] | None = None
    seconds: Annotated[int, Field(ge=1, le=366 * 86_400)] | None = None

    @model_validator(mode="after")
    def _one_length(self) -> Window:
        if self.kind == "calendar" and (self.period is None or self.seconds is not None):
            raise ValueError("a calendar window needs `period` (hour, day, week or month) and no `seconds`")
        if self.kind == "rolling" and (self.seconds is None or self.period is not None):
            raise ValueError("a rolling window needs `seconds` and no `period`")
        return self


class Budget(Strict):
    """The most that one principal may spend under this policy in one window, by one accountant.

    `basic` adds epsilons and deltas. `zcdp` adds rho, with the cap that (epsilon, delta) allows. `rdp` adds the Renyi divergence
    at each of `orders`, each under its own cap; one order is best, further ones only tighten the filter.
    """

    accountant: Literal["basic", "zcdp", "rdp"] = "basic"
    epsilon: Positive
    delta: Delta | None = None
    orders: tuple[Annotated[float, Field(gt=1.0, allow_inf_nan=False)], ...] = ()
    window: Window = Window(kind="calendar", period="day")

    @model_validator(mode="after")
    def _complete(self) -> Budget:
        if self.accountant != "basic" and self.delta is None:
            raise ValueError(f"the {self.accountant} accountant needs a delta, to turn its quantity into (epsilon, delta)")
        if (self.accountant == "rdp") != bool(self.orders):
            raise ValueError("`orders` belongs to the rdp accountant, which needs at least one order over 1")
        if self.accountant == "rdp" and self.delta is not None:
            for order in self.orders:
                if self.epsilon <= math.log(1 / self.delta) / (order - 1):
                    raise ValueError(f"order {order:g} leaves no budget: epsilon must exceed ln(1/delta)/(order - 1); take a larger order")
        return self


class TokenRule(Strict):
    """Each token is drawn privately inside the model server. The unit is the whole request.

    `exponential`: softmax over logits clipped to [-clip, 0], at `temperature`; 2 clip / temperature a token, or the tighter
    bound for a stated `vocabulary_size`. `argmax`: k-ary randomised response on the best token, `epsilon_per_token`.
    """

    kind: Literal["token"]
    selection: Literal["exponential", "argmax"] = "exponential"
    clip: Positive | None = None
    temperature: Positive | None = None
    epsilon_per_token: Annotated[float, Field(gt=0.0, le=MAX_RANGE, allow_inf_nan=False)] | None = None
    vocabulary_size: Annotated[int, Field(ge=256, le=1 << 18)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=32_768)]

    @model_validator(mode="after")
    def _parameters(self) -> TokenRule:
        if self.selection == "exponential":
            if self.clip is None or self.temperature is None or self.epsilon_per_token is not None:
                raise ValueError("exponential selection needs `clip` and `temperature`, and no `epsilon_per_token`")
            if self.clip / self.temperature > MAX_RANGE:
                raise ValueError(f"clip / temperature must be at most {MAX_RANGE:g}")
        elif self.epsilon_per_token is None or self.clip is not None or self.temperature is not None:
            raise ValueError("argmax selection needs `epsilon_per_token`, and no `clip` or `temperature`")
        return self


class EnsembleRule(Strict):
    """The answer is generated from private records in `groups` disjoint groups. The unit is one record, replaced by another.

    `crosstalk` (logits) bounds how far another group's logits may move when a record is replaced, because kernels round a row
    differently in another batch; 0 is right under batch-invariant kernels only. `python -m bench.dp crosstalk` measures it.
    """

    kind: Literal["ensemble"]
    groups: Annotated[int, Field(ge=2, le=64)]
    clip: Positive
    temperature: Positive
    crosstalk: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.25
    max_tokens: Annotated[int, Field(ge=1, le=4096)]
    max_records: Annotated[int, Field(ge=1, le=10_000)] = 256
    max_record_chars: Annotated[int, Field(ge=1, le=100_000)] = 2_000

    @model_validator(mode="after")
    def _range(self) -> EnsembleRule:
        if self.clip / self.temperature > MAX_RANGE:
            raise ValueError(f"clip / temperature must be at most {MAX_RANGE:g}")
        if self.crosstalk > self.clip / 4:
            raise ValueError("crosstalk must be at most a quarter of clip")
        return self


class StructuredRule(Strict):
    """The answer is an object of fixed shape whose every leaf is noised. The unit is the whole request.

    `json_schema` carries `x-dp` at each leaf; see `policies.dp_schema`. With `answer_after_s` the answer leaves that long after the
    request came, whether the model was fast, slow or failed: then its time tells nothing either.
    """

    kind: Literal["structured"]
    json_schema: dict[str, Any]
    max_tokens: Annotated[int, Field(ge=1, le=32_768)] = 512
    answer_after_s: Annotated[float, Field(gt=0.0, le=600.0, allow_inf_nan=False)] | None = None

    @field_validator("json_schema")
    @classmethod
    def _every_leaf_has_a_mechanism(cls, value: dict[str, Any]) -> dict[str, Any]:
        leaves_of(value)
        return value

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """The leaves in a fixed order, each with its path and mechanism."""
        return leaves_of(self.json_schema)


class DpRule(Strict):
    """Answers under this policy are noised by `mechanism` and paid from `budget`. `restore` gives up the claim and its headers."""

    mechanism: Annotated[TokenRule | StructuredRule | EnsembleRule, Field(discriminator="kind")]
    budget: Budget
    restore: bool = False
