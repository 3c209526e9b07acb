"""What the gateway sends to a model server for a private answer, and what it accepts back.

Flow: `route` takes the body that `private_body` builds from nothing but the policy, the handshake and the scrubbed messages;
`noise` reads the answer through `check_answer`, which refuses one that the plugin did not draw.

The proof travels in every token: the request biases one sentinel token by +100 and decodes greedily, so that a server without
the plugin can only answer the sentinel (see `vllm_plugin.request`). Not covered: a server that lies; lengths and timing.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.dp.structured import response_format
from gateway.dp.vllm_plugin.handshake import LENGTH, ProvenModel, read_proof
from gateway.dp.vllm_plugin.request import SENTINEL_BIAS, PrivateSampling
from gateway.errors import UpstreamFailed
from policies.dp import DpRule, EnsembleRule, StructuredRule, TokenRule

Json = dict[str, Any]
GROUPS = "group_messages"  # the messages of each group of an ensemble, in a body that only `backends.private_vllm` reads
_PROVEN_INTERFACE = 1  # either: only the vocabulary matters here


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
    served = read_proof(nonce, _choice(answer).get("token_ids") or ())
    if served is None:
        raise UpstreamFailed(
            "the model server does not run the private-sampling plugin; start it with "
            "--logits-processors vllm_plugin.runner_v1:DpLogitsProcessor"
        )
    return served


def trap_body(model: str, served: ProvenModel, prompt: str) -> Json:
    """A request with the trap but without the plugin's arguments: a model for which the trap holds answers the sentinel."""
    return {"model": model, "prompt": prompt, "max_tokens": 1, **_trap(served.sentinel)}


def check_trap(served: ProvenModel, answer: Mapping[str, Any]) -> None:
    """Raise UpstreamFailed unless the un-noised answer was the sentinel: then this model's logits span over 100."""
    if _choice(answer).get("stop_reason") != served.sentinel:
        raise UpstreamFailed("the per-response check does not hold for this model (its logits span over 100): it can't serve a DP route")


def private_sampling(mechanism: TokenRule | EnsembleRule, vocabulary: int, ensemble: str = "") -> PrivateSampling:
    """The plugin's arguments for a mechanism; `ensemble` is a fresh random name."""
    sentinel = ProvenModel(vocabulary, _PROVEN_INTERFACE).sentinel
    if isinstance(mechanism, EnsembleRule):
        return PrivateSampling(
            kind="ensemble",
            sentinel=sentinel,
            clip=mechanism.clip,
            temperature=mechanism.temperature,
            groups=mechanism.groups,
            crosstalk=mechanism.crosstalk,
            ensemble=ensemble,
        )
    size = mechanism.vocabulary_size or 0
    if mechanism.selection == "argmax":
        assert mechanism.epsilon_per_token is not None  # the rule's own validation
        return PrivateSampling(kind="argmax", sentinel=sentinel, epsilon=mechanism.epsilon_per_token, vocabulary=size)
    assert mechanism.clip is not None
    assert mechanism.temperature is not None
    return PrivateSampling(kind="exponential", sentinel=sentinel, clip=mechanism.clip, temperature=mechanism.temperature, vocabulary=size)


def dp_sampling_params(sampling: PrivateSampling, max_tokens: int) -> Json:
    """All sampling parameters of a private request. Nothing of the client's own parameters is in it, `max_tokens` apart.

    Greedy decoding: the plugin has drawn, at the policy's temperature, and left one token possible.
    """
    return {"max_tokens": max_tokens, **_trap(sampling.sentinel), "vllm_xargs": sampling.to_xargs()}


def _trap(sentinel: int) -> Json:
    return {"temperature": 0, "logit_bias": {str(sentinel): SENTINEL_BIAS}, "stop_token_ids": [sentinel]}


def private_body(
    rule: DpRule, scrubbed: Mapping[str, Any], records: Sequence[str], *, max_tokens: int, vocabulary: int | None, stream: bool
) -> Json:
    """The upstream body without the model's name: the scrubbed messages or prompt, and parameters from the policy alone."""
    mechanism = rule.mechanism
    said: Json = {name: scrubbed[name] for name in ("messages", "prompt") if name in scrubbed}
    if isinstance(mechanism, StructuredRule):
        return {**said, "max_tokens": max_tokens, "temperature": 0, "response_format": response_format(mechanism)}
    assert vocabulary is not None  # admission has shaken hands
    if isinstance(mechanism, EnsembleRule):
        params = dp_sampling_params(private_sampling(mechanism, vocabulary, new_nonce()), max_tokens)
        return {GROUPS: group_messages(said["messages"], group_records(records, mechanism.groups)), **params}
    body = {**said, **dp_sampling_params(private_sampling(mechanism, vocabulary), max_tokens)}
    return body | {"stream": True, "stream_options": {"include_usage": True}} if stream else body


def local_body(scrubbed: Mapping[str, Any], *, max_tokens: int) -> Json:
    """The body for a model whose tokens the gateway draws itself (`gateway.dp.local_draw`): no sampling parameter at all."""
    return {**{name: scrubbed[name] for name in ("messages", "prompt") if name in scrubbed}, "max_tokens": max_tokens}


def group_records(records: Sequence[str], groups: int) -> list[list[str]]:
    """Assign records to `groups` disjoint groups by index alone: record i to group i mod s. A group may be empty."""
    return [list(records[g::groups]) for g in range(groups)]


def group_messages(messages: Sequence[Json], groups: Sequence[Sequence[str]]) -> list[list[Json]]:
    """The conversation of each group: the shared messages, then one more of the user's that lists the group's records."""
    return [[*messages, {"role": "user", "content": "Records:\n" + "\n".join(f"- {r}" for r in records)}] for records in groups]


def check_answer(vocabulary: int | None, answer: Mapping[str, Any]) -> None:
    """Raise UpstreamFailed where an answer or a stream event shows that the plugin did not draw it.

    `vocabulary` is None where the gateway drew the tokens itself: there is no plugin and no sentinel then.
    """
    sentinel = None if vocabulary is None else ProvenModel(vocabulary, _PROVEN_INTERFACE).sentinel
    for choice in answer.get("choices") or ():
        trapped = sentinel is not None and choice.get("stop_reason") == sentinel
        if trapped or choice.get("finish_reason") not in (None, "stop", "length"):
            raise UpstreamFailed("the model server answered without private sampling; nothing was released from this step on")
        if choice.get("logprobs") is not None:
            raise UpstreamFailed("the model server sent logprobs on a DP route; nothing was released")


def drawn_tokens(usage: Mapping[str, Any] | None, finish_reason: str | None, max_tokens: int) -> int:
    """How many tokens were drawn, the end token included; `max_tokens` where the server did not say, or the answer did not end by itself.

    The count is the server's word, as everything is that it draws.
    """
    count = (usage or {}).get("completion_tokens")
    if finish_reason != "stop" or not isinstance(count, int) or isinstance(count, bool) or not 0 < count <= max_tokens:
        return max_tokens
    return count


def _choice(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = answer.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
