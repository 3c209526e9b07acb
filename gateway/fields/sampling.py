"""The fields of sampling that OpenAI and vLLM share: numbers, flags and closed choices, which carry no text.

The three generating APIs lay these into their own trees. `stop` and `bad_words` do carry text: they are scrubbed like the prompt, so that a
stop string that is personal stops the model at its stand-in.
"""

from __future__ import annotations

from gateway.fields.kinds import Choice, Kind, Nothing, Number, NumberMap, Numbers, Object, TextOrList, Withheld

_OURS = Nothing("the gateway sets it itself.")
_BYPASS = Nothing("it would carry input past the scrubber.")

SAMPLING: dict[str, Kind] = {
    "frequency_penalty": Number(),
    "ignore_eos": Number(),
    "include_stop_str_in_output": Number(),
    "logit_bias": NumberMap(),
    "min_p": Number(),
    "presence_penalty": Number(),
    "repetition_penalty": Number(),
    "seed": Number(),
    "skip_special_tokens": Number(),
    "stop": TextOrList(),
    "stop_token_ids": Numbers(),
    "stream": Number(),
    "temperature": Number(),
    "top_k": Number(),
    "top_p": Number(),
    "user": Withheld(),
}

GENERATION: dict[str, Kind] = {
    **SAMPLING,
    "add_special_tokens": Number(),
    "allowed_token_ids": Numbers(),
    "bad_words": TextOrList(),
    "length_penalty": Number(),
    "max_tokens": Number(),
    "min_tokens": Number(),
    "n": Number(),
    "spaces_between_special_tokens": Number(),
    "stream_options": Object({"include_usage": Number(), "continuous_usage_stats": Number(), "include_obfuscation": Withheld()}),
    "thinking_token_budget": Number(),
    "truncate_prompt_tokens": Number(),
    "truncation_side": Choice(("left", "right")),
    "use_beam_search": Number(),
}

REFUSED: dict[str, Kind] = {
    "cache_salt": _OURS,
    "ec_transfer_params": _BYPASS,
    "kv_transfer_params": _BYPASS,
    "media_io_kwargs": _BYPASS,
    "mm_processor_kwargs": _BYPASS,
    "mm_payload": _BYPASS,
    "priority": Nothing("the gateway serves all callers alike."),
    "prompt_logprobs": Nothing("it would show the stand-ins of the prompt; leave it out."),
    "request_id": _OURS,
    "return_prompt_text": Nothing("it would show the stand-ins of the prompt; leave it out."),
    "return_token_ids": Nothing("token ids can't be restored; leave it out."),
    "return_tokens_as_token_ids": Nothing("token ids can't be restored; leave it out."),
    "session_id": _OURS,
    "vllm_xargs": _OURS,
}
"""Fields that no policy can let through (`allowed_fields` reaches only fields that stand in no tree)."""
