"""The request of /v1/responses: its known fields, and those among them that carry text.

Sources: OpenAI's API reference (Create a model response) and vLLM's `ResponsesRequest`. Stored state is refused by name
(`previous_response_id`, `conversation`, `store`, `background`): the gateway keeps no answers, so a caller sends the whole conversation.
"""

from __future__ import annotations

from gateway.fields.chat import PARTS
from gateway.fields.json_schema import Schema
from gateway.fields.kinds import ByType, Choice, JsonText, Kind, ListOf, Name, Nothing, Number, Object, StringOr, Text, Withheld
from gateway.fields.sampling import REFUSED, SAMPLING

_STATUS = Choice(("in_progress", "completed", "incomplete"))
_OUTPUT_TEXT = Object(
    {"type": Choice(("output_text",)), "text": Text(), "annotations": Withheld(), "logprobs": Withheld()},
    required=("text",),
)
_INPUT_TEXT = Object({"type": Choice(("input_text", "text")), "text": Text()}, required=("text",))
_CONTENT = ListOf(
    ByType(
        {
            "input_text": _INPUT_TEXT,
            "text": _INPUT_TEXT,
            "output_text": _OUTPUT_TEXT,
            "refusal": Object({"type": Choice(("refusal",)), "refusal": Text()}, required=("refusal",)),
        },
        what="content part",
    )
)
_ITEM = ByType(
    {
        "message": Object(
            {
                "type": Choice(("message",)),
                "role": Choice(("system", "developer", "user", "assistant")),
                "content": StringOr(Text(), _CONTENT),
                "id": Name(),
                "status": _STATUS,
                "phase": Choice(("commentary", "final_answer")),
            },
            required=("role", "content"),
        ),
        "function_call": Object(
            {
                "type": Choice(("function_call",)),
                "id": Name(),
                "call_id": Name(),
                "name": Name(),
                "arguments": JsonText(),
                "status": _STATUS,
            },
            required=("call_id", "name", "arguments"),
        ),
        "function_call_output": Object(
            {
                "type": Choice(("function_call_output",)),
                "id": Name(),
                "call_id": Name(),
                "output": StringOr(Text(), PARTS),
                "status": _STATUS,
            },
            required=("call_id", "output"),
        ),
        "reasoning": Object(
            {
                "type": Choice(("reasoning",)),
                "id": Name(),
                "summary": ListOf(Object({"type": Choice(("summary_text",)), "text": Text()}, required=("text",))),
                "content": ListOf(Object({"type": Choice(("reasoning_text",)), "text": Text()}, required=("text",))),
                "encrypted_content": Nothing("ciphertext can't be scrubbed."),
                "status": _STATUS,
            }
        ),
    },
    default="message",
    what="input item",
)

_FORMAT = ByType(
    {
        "text": Object({"type": Choice(("text",))}),
        "json_object": Object({"type": Choice(("json_object",))}),
        "json_schema": Object(
            {"type": Choice(("json_schema",)), "name": Name(), "description": Text(), "schema": Schema(), "strict": Number()},
            required=("name", "schema"),
        ),
    },
    what="text format",
)
_TOOL = Object(
    {
        "type": Choice(("function",)),
        "name": Name(),
        "description": Text(),
        "parameters": Schema(),
        "strict": Number(),
        "defer_loading": Number(),
    },
    required=("name",),
)
_KEEPS_NOTHING = Nothing("the gateway keeps no answers; send the whole conversation in `input`.")

RESPONSES: Kind = Object(
    {
        **SAMPLING,
        **REFUSED,
        "background": Nothing("the gateway keeps no answers; leave it out."),
        "conversation": _KEEPS_NOTHING,
        "enable_response_messages": Nothing("it would show the stand-ins of the prompt; leave it out."),
        "include": Nothing("logprobs and encrypted reasoning can't be restored; leave it out."),
        "include_reasoning": Number(),
        "input": StringOr(Text(), ListOf(_ITEM)),
        "instructions": Text(),
        "max_output_tokens": Number(),
        "max_tool_calls": Number(),
        "metadata": Withheld(),
        "model": Withheld(),
        "parallel_tool_calls": Number(),
        "previous_input_messages": _KEEPS_NOTHING,
        "previous_response_id": _KEEPS_NOTHING,
        "prompt": Nothing("stored prompts are not known here; send `instructions` and `input`."),
        "prompt_cache_key": Withheld(),
        "prompt_cache_retention": Withheld(),
        "reasoning": Object(
            {
                "effort": Choice(("none", "minimal", "low", "medium", "high", "xhigh")),
                "summary": Choice(("auto", "concise", "detailed")),
                "generate_summary": Choice(("auto", "concise", "detailed")),
            }
        ),
        "safety_identifier": Withheld(),
        "service_tier": Choice(("auto", "default", "flex", "scale", "priority")),
        "store": Nothing("the gateway keeps no answers; set it to false or leave it out."),
        "stream_options": Object({"include_obfuscation": Withheld()}),
        "text": Object({"format": _FORMAT, "verbosity": Choice(("low", "medium", "high"))}),
        "tool_choice": StringOr(
            Choice(("none", "auto", "required")),
            ByType({"function": Object({"type": Choice(("function",)), "name": Name()}, required=("name",))}),
        ),
        "tools": ListOf(ByType({"function": _TOOL}, what="tool")),
        "top_logprobs": Nothing("logprobs are served by /v1/chat/completions only."),
        "truncation": Choice(("auto", "disabled")),
    },
    required=("input",),
    top=True,
)
