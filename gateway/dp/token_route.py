"""What the gateway sends for a privately sampled answer, and what it accepts back.

Flow: `admit` prices the request (`gateway.dp.charges`), `infer` sends the body that `private_body` builds from nothing but the
policy, the handshake and the scrubbed messages, and `noise` reads the answer through `released_choice` / `check_event`, which
refuse an answer that the plugin did not draw.

The proof travels in every token: the request biases one sentinel token by +100 and decodes greedily, so that a server without
the plugin can only answer the sentinel (see `vllm_plugin.request`). Not covered: a server that lies; lengths and timing.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.dp.vllm_plugin.handshake import LENGTH, ProvenModel, read_proof
from gateway.dp.vllm_plugin.request import SENTINEL_BIAS, PrivateSampling
from gateway.errors import UpstreamFailed
from policies.dp import EnsembleRule, TokenRule

Json = dict[str, Any]


def handshake_body(model: str, nonce: str) -> Json:
    """A completion request that only the plugin answers rightly: its token ids are the proof for `nonce`."""
    sampling = PrivateSampling(kind="handshake", sentinel=-1, nonce=nonce)
    return {
        "model": model,
        "prompt": "handshake",
        "max_tokens": LENGTH,
        "temperature": 0,
        "ignore_eos": True,
        "return_token_ids": True,
        "vllm_xargs": sampling.to_xargs(),
    }


def new_nonce() -> str:
    """A fresh nonce of 128 bits."""
    return secrets.token_hex(16)


def read_handshake(nonce: str, answer: Mapping[str, Any]) -> ProvenModel:
    """The served model that the answer proves. Raises UpstreamFailed where it proves nothing."""
    choices = answer.get("choices") or [{}]
    served = read_proof(nonce, choices[0].get("token_ids") or ())
    if served is None:
        raise UpstreamFailed(
            "the model server does not run the private-sampling plugin; start it with "
            "--logits-processors vllm_plugin.runner_v1:DpLogitsProcessor"
        )
    return served


def trap_body(model: str, served: ProvenModel, prompt: str) -> Json:
    """A request with the trap but without the plugin's arguments: a model for which the trap holds answers the sentinel."""
    return {"model": model, "prompt": prompt, "max_tokens": 1, "return_token_ids": True, **_trap(served.sentinel)}


def check_trap(served: ProvenModel, answer: Mapping[str, Any]) -> None:
    """Raise UpstreamFailed unless the un-noised answer was the sentinel: then this model's logits span over 100."""
    choice = (answer.get("choices") or [{}])[0]
    if choice.get("stop_reason") != served.sentinel:
        raise UpstreamFailed("the per-response check does not hold for this model (its logits span over 100): it can't serve a DP route")


def token_sampling(rule: TokenRule, served: ProvenModel) -> PrivateSampling:
    """The plugin's arguments for a token rule."""
    if rule.selection == "argmax":
        assert rule.epsilon_per_token is not None  # the rule's own validation
        return PrivateSampling(
            kind="argmax", sentinel=served.sentinel, epsilon=rule.epsilon_per_token, vocabulary=rule.vocabulary_size or 0
        )
    assert rule.clip is not None
    assert rule.temperature is not None
    return PrivateSampling(
        kind="exponential",
        sentinel=served.sentinel,
        clip=rule.clip,
        temperature=rule.temperature,
        vocabulary=rule.vocabulary_size or 0,
    )


def ensemble_sampling(rule: EnsembleRule, served: ProvenModel, name: str) -> PrivateSampling:
    """The plugin's arguments for the rows of one ensemble; `name` is fresh and random."""
    return PrivateSampling(
        kind="ensemble",
        sentinel=served.sentinel,
        clip=rule.clip,
        temperature=rule.temperature,
        groups=rule.groups,
        crosstalk=rule.crosstalk,
        ensemble=name,
    )


def dp_sampling_params(sampling: PrivateSampling, max_tokens: int) -> Json:
    """All sampling parameters of a private request. Nothing of the client's own parameters is in it, `max_tokens` apart.

    Greedy decoding: the plugin has drawn, at the policy's temperature, and left one token possible.
    """
    return {"max_tokens": max_tokens, **_trap(sampling.sentinel), "vllm_xargs": sampling.to_xargs()}


def _trap(sentinel: int) -> Json:
    return {"temperature": 0, "logit_bias": {str(sentinel): SENTINEL_BIAS}, "stop_token_ids": [sentinel]}


def private_body(model: str, scrubbed_body: Mapping[str, Any], params: Mapping[str, Any], *, stream: bool) -> Json:
    """The upstream body: the scrubbed messages or prompt, the model, streaming, and `params`; every other field is left behind."""
    body: Json = {"model": model, **params}
    for name in ("messages", "prompt"):
        if name in scrubbed_body:
            body[name] = scrubbed_body[name]
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def check_event(served: ProvenModel, event: Mapping[str, Any]) -> None:
    """Raise UpstreamFailed where an answer or a stream event shows that the plugin did not draw it."""
    for choice in event.get("choices") or ():
        reason = choice.get("finish_reason")
        if choice.get("stop_reason") == served.sentinel or reason not in (None, "stop", "length"):
            raise UpstreamFailed("the model server answered without private sampling; nothing was released from this step on")
        if choice.get("logprobs") is not None:
            raise UpstreamFailed("the model server sent logprobs on a DP route; nothing was released")


def drawn_tokens(usage: Mapping[str, Any] | None, max_tokens: int) -> int:
    """How many tokens were drawn, the end token included; `max_tokens` where the server did not say or the answer broke off."""
    count = (usage or {}).get("completion_tokens")
    if not isinstance(count, int) or isinstance(count, bool) or not 0 < count <= max_tokens:
        return max_tokens
    return count


def group_records(records: Sequence[str], groups: int) -> list[list[str]]:
    """Assign records to `groups` disjoint groups by index alone: record i to group i mod s. A group may be empty."""
    return [list(records[g::groups]) for g in range(groups)]
