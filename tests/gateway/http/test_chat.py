"""/v1/chat/completions with the real OpenAI SDK: what goes upstream, what comes back."""

import json
import re
from typing import Any

import httpx
import openai
import pytest

from gateway.http.limits import WireLimits

NAME, STAND_IN = "Sarah Connor", "Maria Jensen"
MAIL = "sarah.connor@cyberdyne.com"
TEXT = f"I am {NAME}, write to {MAIL}."
ASK: Any = [{"role": "user", "content": TEXT}]


def test_the_model_gets_stand_ins_and_the_caller_gets_the_values_back(llmos: Any) -> None:
    answer = llmos.client().chat.completions.create(model="echo", messages=ASK)
    assert llmos.upstream.last["messages"] == [{"role": "user", "content": f"I am {STAND_IN}, write to maria.jensen@example.org."}]
    assert answer.choices[0].message.content == TEXT
    assert answer.model == "echo"
    assert answer.usage.total_tokens == 12
    assert answer._request_id.startswith("req_")
    assert not hasattr(answer, "prompt_text"), "an unknown field of the model server would show stand-ins"


def test_nothing_of_the_clients_headers_reaches_the_model_server(llmos: Any) -> None:
    client = llmos.client(default_headers={"x-canary": NAME, "cookie": "session=canary", "x-request-id": NAME})
    client.chat.completions.create(model="echo", messages=ASK, user=NAME, metadata={"who": NAME})
    sent = llmos.upstream.headers[-1]
    assert set(sent) <= {"host", "content-type", "content-length", "accept", "accept-encoding", "user-agent"}
    assert NAME not in llmos.upstream.raw()
    assert "user" not in llmos.upstream.last
    assert "metadata" not in llmos.upstream.last


def test_a_tenant_has_its_own_cache_salt(llmos: Any) -> None:
    llmos.client().chat.completions.create(model="echo", messages=ASK)
    llmos.client().chat.completions.create(model="echo", messages=ASK, user="another person")
    llmos.client(api_key="sk-llmos-test-1111").chat.completions.create(model="echo", messages=ASK)
    first, second, of_another_tenant = (body["cache_salt"] for body in llmos.upstream.bodies)
    assert first == second
    assert first != of_another_tenant
    assert len(first) == 32
    assert "clinic" not in first
    with pytest.raises(openai.BadRequestError):  # nobody chooses their own
        llmos.client().chat.completions.create(model="echo", messages=ASK, extra_body={"cache_salt": of_another_tenant})


def test_a_stream_restores_values_that_arrive_in_pieces(llmos: Any) -> None:
    stream = llmos.client().chat.completions.create(model="echo", messages=ASK, stream=True, n=2, stream_options={"include_usage": True})
    texts, finished, usage, chunks = ["", ""], [], None, 0
    for chunk in stream:
        chunks += 1
        usage = chunk.usage or usage
        for choice in chunk.choices:
            assert choice.index not in finished, "text came after its finish_reason"
            texts[choice.index] += choice.delta.content or ""
            if choice.finish_reason:
                finished.append(choice.index)
    assert texts == [TEXT, TEXT]
    assert sorted(finished) == [0, 1]
    assert usage.total_tokens == 12
    assert chunks > len(TEXT) // 4, "the answer must not come all at once at the end"


@pytest.mark.parametrize("model", ["bytes", "crlf"])
def test_a_stream_survives_any_cut_of_its_bytes(llmos: Any, model: str) -> None:
    messages: Any = [{"role": "user", "content": f"你好，我是李四 and {NAME} 🙂"}]
    stream = llmos.client().chat.completions.create(model=model, messages=messages, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in stream if c.choices) == messages[0]["content"]


async def test_the_async_client_streams(llmos: Any) -> None:
    stream = await llmos.async_client().chat.completions.create(model="echo", messages=ASK, stream=True)
    assert "".join([c.choices[0].delta.content or "" async for c in stream if c.choices]) == TEXT


@pytest.mark.parametrize("stream", [False, True])
def test_reasoning_is_restored_before_content_begins(llmos: Any, stream: bool) -> None:
    messages: Any = [{"role": "user", "content": f"{TEXT} Mari"}]  # ends in what could begin a stand-in
    if not stream:
        message = llmos.client().chat.completions.create(model="think", messages=messages).choices[0].message
        assert message.reasoning == f"hm {TEXT} Mari"
        return
    said: list[tuple[str, str]] = []
    for chunk in llmos.client().chat.completions.create(model="think", messages=messages, stream=True):
        for name in ("reasoning", "content"):
            if piece := getattr(chunk.choices[0].delta, name, None):
                said.append((name, piece))
    assert "".join(piece for name, piece in said if name == "reasoning") == f"{TEXT} Mari"
    assert "".join(piece for name, piece in said if name == "content") == f"{TEXT} Mari"
    assert [name for name, _ in said] == sorted((name for name, _ in said), reverse=True)


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_restored_in_tool_arguments_is_escaped(llmos: Any, stream: bool) -> None:
    hard = 'Eve "X" O\\Hara'
    messages: Any = [{"role": "user", "content": hard}]
    tools: Any = [{"type": "function", "function": {"name": "mail", "parameters": {"type": "object", "properties": {}}}}]
    answer: Any = llmos.client().chat.completions.create(model="tool", messages=messages, tools=tools, stream=stream)
    if stream:
        pieces = [c.choices[0].delta.tool_calls[0].function.arguments or "" for c in answer if c.choices[0].delta.tool_calls]
        arguments = "".join(pieces)
    else:
        arguments = answer.choices[0].message.tool_calls[0].function.arguments
    assert json.loads(arguments) == {"to": hard, "n": 1}
    assert "Anna Berg" in llmos.upstream.last["messages"][0]["content"]


def test_tool_arguments_in_the_history_are_scrubbed_leaf_by_leaf(llmos: Any) -> None:
    arguments = json.dumps({"name": "李四", "phone": 4155550132, NAME: {"ok": [True, None, 1.5]}, "mail": MAIL})
    assert "李四" not in arguments, "json.dumps escapes it: the case that a detector does not see"
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": arguments}}
    messages: Any = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": json.dumps({"found": "李四"})},
        {"role": "user", "content": [{"type": "text", "text": TEXT}]},
    ]
    llmos.client().chat.completions.create(model="echo", messages=messages)
    sent = llmos.upstream.last["messages"]
    assert json.loads(sent[1]["tool_calls"][0]["function"]["arguments"]) == {
        "name": "王芳",
        "phone": 4155550199,
        STAND_IN: {"ok": [True, None, 1.5]},
        "mail": "maria.jensen@example.org",
    }
    assert sent[2]["content"] == '{"found": "王芳"}'
    for value in (NAME, MAIL, "李四", "4155550132"):
        assert value not in llmos.upstream.raw()


def test_texts_of_schemas_are_scrubbed_and_their_keys_stay(llmos: Any) -> None:
    schema = {
        "type": "object",
        "title": f"About {NAME}",
        "description": TEXT,
        "properties": {
            NAME: {"type": "string", "enum": [NAME, "other"], "default": NAME, "examples": [{"x": NAME}]},
            "who": {"const": NAME, "pattern": f"^{NAME}$"},
            "list": {"type": "array", "items": {"anyOf": [{"description": NAME}, {"$ref": "#/$defs/a"}]}},
        },
        "$defs": {"a": {"x-note": NAME}},
        "required": [NAME],
    }
    tools: Any = [{"type": "function", "function": {"name": "f", "description": NAME, "parameters": schema, "strict": True}}]
    shape: Any = {"type": "json_schema", "json_schema": {"name": "s", "description": NAME, "schema": schema}}
    llmos.client().chat.completions.create(model="echo", messages=ASK, tools=tools, response_format=shape, stop=[NAME])
    sent = llmos.upstream.last
    for read in (sent["tools"][0]["function"]["parameters"], sent["response_format"]["json_schema"]["schema"]):
        assert list(read["properties"]) == [NAME, "who", "list"]
        assert read["required"] == [NAME]
        text = json.dumps({**read, "properties": list(read["properties"].values()), "required": []})
        assert NAME not in text
        assert text.count(STAND_IN) == 9
    assert sent["tools"][0]["function"]["description"] == STAND_IN
    assert sent["stop"] == [STAND_IN]


@pytest.mark.parametrize("field", ["chat_template", "documents", "structured_outputs", "guided_choice", "functions", "surprise"])
def test_an_unknown_field_is_refused_by_name(llmos: Any, field: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        llmos.client().chat.completions.create(model="echo", messages=ASK, extra_body={field: [NAME]})
    assert refused.value.code == "unknown_field"
    assert refused.value.param == field
    assert NAME not in refused.value.response.text
    assert llmos.upstream.bodies == []


def test_a_policy_can_let_a_named_field_through(llmos: Any) -> None:
    llmos.policies.policy = llmos.policies.policy.model_copy(update={"allowed_fields": ("guided_choice", "vllm_xargs")})
    llmos.client().chat.completions.create(model="echo", messages=ASK, extra_body={"guided_choice": ["a", "b"]})
    assert llmos.upstream.last["guided_choice"] == ["a", "b"]
    with pytest.raises(openai.BadRequestError):  # never this one
        llmos.client().chat.completions.create(model="echo", messages=ASK, extra_body={"vllm_xargs": {"a": 1}})


def test_the_sampling_fields_of_vllm_go_through(llmos: Any) -> None:
    fields = {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "stop_token_ids": [2], "ignore_eos": False, "min_tokens": 1}
    llmos.client().chat.completions.create(model="echo", messages=ASK, temperature=0, seed=1, logit_bias={"5": 1}, extra_body=fields)
    assert fields.items() <= llmos.upstream.last.items()
    assert llmos.upstream.last["logit_bias"] == {"5": 1}


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_id": "f"}},
        {"type": "video_url", "video_url": {"url": "x"}},
    ],
)
def test_parts_that_cannot_be_scrubbed_are_refused(llmos: Any, part: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        llmos.client().chat.completions.create(model="echo", messages=[{"role": "user", "content": [part]}])
    assert refused.value.code == "unsupported_content"
    assert llmos.upstream.bodies == []


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_are_refused_once_a_value_was_replaced_and_served_otherwise(llmos: Any, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        llmos.client().chat.completions.create(model="echo", messages=ASK, logprobs=True, stream=stream)
    assert refused.value.param == "logprobs"
    assert llmos.upstream.bodies == []
    harmless: Any = [{"role": "user", "content": "plain words"}]
    answer: Any = llmos.client().chat.completions.create(model="echo", messages=harmless, logprobs=True, stream=stream)
    choices = [c.choices[0] for c in answer] if stream else answer.choices
    tokens = [each.token for choice in choices if choice.logprobs for each in choice.logprobs.content]
    assert "".join(tokens) == "plain words"


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_do_not_show_what_the_response_rule_masked(llmos: Any, stream: bool) -> None:
    messages: Any = [{"role": "user", "content": "who?"}]
    response = httpx.post(
        llmos.url + "/v1/chat/completions",
        headers={"authorization": "Bearer sk-llmos-test-0000"},
        json={"model": "memory", "messages": messages, "logprobs": True, "stream": stream},
    )
    events = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")] if stream else [response.json()]
    shown = "".join(
        each["token"] for event in events for choice in event["choices"] for each in ((choice.get("logprobs") or {}).get("content") or [])
    )
    assert "ask ".startswith(shown)
    said = "".join((c.get("delta") or c.get("message") or {}).get("content") or "" for e in events for c in e["choices"])
    assert re.fullmatch(r"ask [^0-9]+ about it", said)
    assert "1111" not in response.text


@pytest.mark.parametrize("allowed", [False, True])
def test_what_was_sent_shows_only_where_the_deployment_allows_it(start_gateway: Any, allowed: bool) -> None:
    limits = WireLimits(max_body_bytes=100_000, request_timeout_s=10, max_concurrent_requests=8, may_show_sent=allowed)
    with start_gateway(limits=limits) as llmos:
        client = llmos.client(default_headers={"x-llmos-show-sent": "true"})
        answer = client.chat.completions.with_raw_response.create(model="echo", messages=ASK, stream=True)
        text = answer.http_response.read().decode()
    assert (": llmos-sent " in text) is allowed
    assert (STAND_IN in text) is allowed
