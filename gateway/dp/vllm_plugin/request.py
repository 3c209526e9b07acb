"""The private-sampling arguments of one request, read strictly from vLLM's `extra_args`.

The gateway writes them (`to_xargs`), vLLM hands them back (`from_xargs`) in its front process, where a wrong argument is an
HTTP 400, and in its worker. A request without the key `llmos_dp` is not ours, and is left alone.

The trap. Each private request also carries `logit_bias = {sentinel: 100}` and greedy decoding. vLLM adds the bias before
custom processors run. This plugin never draws the sentinel; a server without the plugin yields nothing else, and
`stop_token_ids = [sentinel]` ends that answer before its first character. So a token that is not the sentinel shows that
the plugin drew it. It holds for models whose logits span less than 100, which the gateway's handshake tries.

It does NOT authenticate the server: whoever runs it could answer the handshake and draw no noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .weights import MAX_GROUPS, argmax_weights, check_range, reach_steps

KEY = "llmos_dp"
SENTINEL_BIAS = 100.0
Kind = Literal["exponential", "argmax", "ensemble", "handshake"]

# Arguments of SamplingParams that a private request may carry; every other one must be at its default.
FREE_FIELDS = frozenset(
    {
        "max_tokens",
        "logit_bias",
        "temperature",
        "stop_token_ids",
        "extra_args",
        "output_kind",
        "stream_interval",
        "detokenize",
        "skip_special_tokens",
        "spaces_between_special_tokens",
        "skip_clone",  # how vLLM copies the parameters, not what they say
    }
)


@dataclass(frozen=True, slots=True)
class PrivateSampling:
    """What to draw from: clip C and temperature T in logits, epsilon per token for `argmax`, `groups` rows of one ensemble."""

    kind: Kind
    sentinel: int  # the token id that is never drawn; -1 in a handshake, which learns it
    clip: float = 0.0
    temperature: float = 0.0
    epsilon: float = 0.0
    vocabulary: int = 0  # the size that the claim was computed for, sentinel included; 0: any
    ensemble: str = ""  # random name that the rows of one ensemble share
    groups: int = 1
    crosstalk: float = 0.0  # logits by which the groups of an ensemble may move each other (see `weights.reach_steps`)
    nonce: str = ""

    def to_xargs(self) -> dict[str, str | int | float]:
        """The flat mapping for the request's `vllm_xargs`."""
        given: dict[str, str | int | float] = {KEY: self.kind, f"{KEY}_sentinel": self.sentinel}
        for name in ("clip", "temperature", "epsilon", "vocabulary", "ensemble", "crosstalk", "nonce"):
            if value := getattr(self, name):
                given[f"{KEY}_{name}"] = value
        if self.kind == "ensemble":
            given[f"{KEY}_groups"] = self.groups
        return given


def from_xargs(extra: Mapping[str, Any] | None) -> PrivateSampling | None:
    """Read the arguments; None where the request is not a private one. Raises ValueError for anything unknown or out of range."""
    if not extra or KEY not in extra:
        if extra and any(str(name).startswith(KEY) for name in extra):
            raise ValueError(f"{KEY}_* arguments without {KEY}")
        return None
    known: dict[str, type] = {
        "sentinel": int,
        "clip": float,
        "temperature": float,
        "epsilon": float,
        "vocabulary": int,
        "ensemble": str,
        "groups": int,
        "crosstalk": float,
        "nonce": str,
    }
    values: dict[str, Any] = {}
    for name, value in extra.items():
        if name == KEY:
            continue
        field = name.removeprefix(f"{KEY}_")
        if name == field or field not in known:
            raise ValueError(f"unknown argument {name!r} beside {KEY}")
        wanted = known[field]
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, wanted):
            raise ValueError(f"{name} must be of type {wanted.__name__}")
        values[field] = value
    sampling = PrivateSampling(kind=extra[KEY], **({"sentinel": -2} | values))
    _check(sampling)
    return sampling


def _check(sampling: PrivateSampling) -> None:
    if sampling.kind == "handshake":
        if not 16 <= len(sampling.nonce) <= 128:
            raise ValueError(f"{KEY}_nonce must have 16 to 128 characters")
        return
    if sampling.sentinel < 0:
        raise ValueError(f"{KEY}_sentinel must be a token id")
    if sampling.kind == "argmax":
        argmax_weights(sampling.epsilon)
    elif sampling.kind in ("exponential", "ensemble"):
        check_range(sampling.clip, sampling.temperature, sampling.groups)
        reach_steps(sampling.clip, sampling.groups, sampling.crosstalk)
    else:
        raise ValueError(f"{KEY} must be exponential, argmax, ensemble or handshake")
    if sampling.kind == "ensemble" and not (16 <= len(sampling.ensemble) <= 64 and 2 <= sampling.groups <= MAX_GROUPS):
        raise ValueError(f"an ensemble needs a name of 16 to 64 characters and 2 to {MAX_GROUPS} groups")
    if not (math.isfinite(sampling.clip) and sampling.vocabulary >= 0):
        raise ValueError("vocabulary must not be negative")


def validate(params: Any) -> None:
    """Refuse a private request that asks vLLM for anything else: `params` is vLLM's SamplingParams. Raises ValueError.

    Logprobs would show unclipped values; a seed, a penalty, a grammar or a minimum length would change which token stands.
    """
    sampling = from_xargs(params.extra_args)
    if sampling is None:
        return
    free = FREE_FIELDS | ({"ignore_eos"} if sampling.kind == "handshake" else set())
    plain = type(params)()
    for name in params.__struct_fields__:
        if not name.startswith("_") and name not in free and getattr(params, name) != getattr(plain, name):
            raise ValueError(f"{name} can't be set on a private request")
    if params.temperature != 0.0:
        raise ValueError("a private request decodes greedily (temperature 0): the plugin has drawn already")
    if sampling.kind != "handshake":
        if params.logit_bias != {sampling.sentinel: SENTINEL_BIAS}:
            raise ValueError(f"a private request carries logit_bias {{sentinel: {SENTINEL_BIAS:g}}} and no other")
        if sampling.sentinel not in (params.stop_token_ids or []):
            raise ValueError("a private request stops at its sentinel")
