"""The request of /v1/chat/completions: its known fields, and those among them that carry text.

Sources: OpenAI's API reference (Create chat completion) and vLLM's `ChatCompletionRequest`.
"""

from __future__ import annotations

from gateway.fields.json_schema import Schema
from gateway.fields.kinds import ByType, Choice, JsonText, Kind, ListOf, Name, Nothing, Number, Object, StringOr, Text, Withheld
from gateway.fields.sampling import GENERATION, REFUSED

_TEXT_PART = Object({"type": Choice(("text", "input_text", "output_text")), "text": Text()}, required=("text",))
PARTS: Kind = ListOf(
    ByType(
        {
            "text": _TEXT_PART,
            "input_text": _TEXT_PART,
            "output_text": _TEXT_PART,
            "refusal": Object({"type": Choice(("refusal",)), "refusal": Text()}, required=("refusal",)),
        },
        what="content part",
    )
)
_CONTENT = StringOr(Text(), PARTS)
_EMPTY = Nothing("only an empty value is accepted, as answers carry it.")
_FUNCTION = Object({"name": Name(), "arguments": JsonText()}, required=("name", "arguments"))
_TOOL_CALL = Object(
    {"id": Name(), "type": Choice(("function",)), "index": Number(), "function": _FUNCTION},
    required=("function",),
)

_SAID: dict[str, Kind] = {"role": Choice(("system", "developer", "user")), "content": _CONTENT, "name": Text()}
_MESSAGE = ByType(
    {
        "system": Object(_SAID, required=("content",)),
        "developer": Object(_SAID, required=("content",)),
        "user": Object(_SAID, required=("content",)),
        "assistant": Object(
            {
                "role": Choice(("assistant",)),
                "content": _CONTENT,
                "name": Text(),
                "refusal": Text(),
                "reasoning": Text(),
                "reasoning_content": Text(),
                "tool_calls": ListOf(ByType({"function": _TOOL_CALL}, default="function", what="tool call")),
                "function_call": _FUNCTION,
                "annotations": _EMPTY,
                "audio": _EMPTY,
            },
            keep_null=frozenset({"content"}),
        ),
        "tool": Object(
            {"role": Choice(("tool",)), "content": _CONTENT, "tool_call_id": Name(), "name": Name()},
            required=("content", "tool_call_id"),
        ),
        "function": Object({"role": Choice(("function",)), "content": _CONTENT, "name": Name()}, required=("content", "name")),
    },
    tag="role",
    what="message",
)

_FUNCTION_TOOL = Object(
    {
        "type": Choice(("function",)),
        "defer_loading": Number(),
        "function": Object({"name": Name(), "description": Text(), "parameters": Schema(), "strict": Number()}, required=("name",)),
    },
    required=("function",),
)

RESPONSE_FORMAT: Kind = ByType(
    {
        "text": Object({"type": Choice(("text",))}),
        "json_object": Object({"type": Choice(("json_object",))}),
        "json_schema": Object(
            {
                "type": Choice(("json_schema",)),
                "json_schema": Object(
                    {"name": Name(), "description": Text(), "schema": Schema(), "strict": Number()},
                    required=("name",),
                ),
            },
            required=("json_schema",),
        ),
    },
    what="response format",
)

CHAT: Kind = Object(
    {
        **GENERATION,
        **REFUSED,
        "add_generation_prompt": Number(),
        "continue_final_message": Number(),
        "echo": Number(),
        "include_reasoning": Number(),
        "logprobs": Number(),
        "max_completion_tokens": Number(),
        "messages": ListOf(_MESSAGE),
        "metadata": Withheld(),
        "modalities": ListOf(Choice(("text",))),
        "model": Withheld(),
        "parallel_tool_calls": Number(),
        "prompt_cache_key": Withheld(),
        "prompt_embeds": Nothing("embeddings can't be scrubbed."),
        "reasoning_effort": Choice(("none", "minimal", "low", "medium", "high", "xhigh")),
        "response_format": RESPONSE_FORMAT,
        "safety_identifier": Withheld(),
        "service_tier": Choice(("auto", "default", "flex", "scale", "priority")),
        "store": Nothing("the gateway keeps no answers; leave it out."),
        "tool_choice": StringOr(
            Choice(("none", "auto", "required")),
            ByType({"function": Object({"type": Choice(("function",)), "function": Object({"name": Name()}, required=("name",))})}),
        ),
        "tools": ListOf(ByType({"function": _FUNCTION_TOOL}, what="tool")),
        "top_logprobs": Number(),
    },
    required=("messages",),
    top=True,
)
"""`model` is withheld here because `stages.route` writes the name that the upstream knows."""
