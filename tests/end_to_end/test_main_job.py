"""The main job: an OpenAI client chats through the gateway, and no detected personal data gets to the model, a log or the store."""

import json
import subprocess
import time
from typing import Any

import httpx
import openai
import pytest

CANARIES = {
    "name": "Sarah Connor",
    "mail": "sarah.connor@cyberdyne.com",
    "phone": "(415) 555-2671",
    "card": "4111 1111 1111 1111",
    "ssn": "536-90-4399",
}
TEXT = ("My name is {name}. Write to {mail} or call {phone}. I paid with the card {card}, and my social security number is {ssn}.").format(
    **CANARIES
)


def ask(client: openai.OpenAI, model: str, **more: Any) -> Any:
    messages: Any = [{"role": "user", "content": TEXT}]
    return client.chat.completions.create(model=model, messages=messages, **more)


def test_the_caller_gets_every_value_back_and_the_model_gets_none(before_echo: Any, echo: Any) -> None:
    echo.bodies.clear()
    answer = ask(before_echo.client(), "echo")
    assert answer.choices[0].message.content == TEXT
    received = echo.bodies[-1].decode()
    for kind, value in CANARIES.items():
        assert value not in received, kind
    streamed = "".join(c.choices[0].delta.content or "" for c in ask(before_echo.client(), "echo", stream=True) if c.choices)
    assert streamed == TEXT
    first, second = (json.loads(raw)["messages"][-1]["content"] for raw in echo.bodies[-2:])
    assert first == second, "the same words of one conversation have the same stand-ins"


def test_a_later_turn_keeps_the_stand_ins_of_the_first(before_echo: Any, echo: Any) -> None:
    echo.bodies.clear()
    client = before_echo.client()
    first = ask(client, "echo").choices[0].message.content
    turns: Any = [
        {"role": "user", "content": TEXT},
        {"role": "assistant", "content": first},
        {"role": "user", "content": f"And who is {CANARIES['name']}?"},
    ]
    answer = client.chat.completions.create(model="echo", messages=turns)
    assert answer.choices[0].message.content == turns[2]["content"]
    before, after = (json.loads(raw)["messages"] for raw in echo.bodies)
    assert after[0] == before[0]
    assert after[1]["content"] == before[0]["content"]


def test_a_stream_of_single_bytes_says_the_same(before_echo: Any) -> None:
    text = f"{TEXT} 我叫王小明。🙂"
    stream = before_echo.client().chat.completions.create(model="half", messages=[{"role": "user", "content": text}], stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in stream if c.choices) == text


def test_token_shaped_text_comes_back_as_it_was_typed_and_reads_no_vault(before_echo: Any, echo: Any) -> None:
    client = before_echo.client()
    ask(client, "echo")
    issued = json.loads(echo.bodies[-1])["messages"][-1]["content"]
    typed: Any = [{"role": "user", "content": f"<PERSON_k7dm> [EMAIL_1] {issued}"}]
    assert client.chat.completions.create(model="echo", messages=typed).choices[0].message.content == typed[0]["content"]


def test_a_conversation_is_named_by_its_header(before_echo: Any, echo: Any) -> None:
    def sent(conversation: str, user: str = "") -> str:
        more: dict[str, Any] = {"user": user} if user else {}
        ask(before_echo.client(), "echo", extra_headers={"x-llmos-conversation": conversation}, **more)
        return str(json.loads(echo.bodies[-1])["messages"][-1]["content"])

    assert sent("one") == sent("one", user="somebody")
    assert sent("one") != sent("two")


def bad_requests() -> list[tuple[str, bytes, int]]:
    """Bodies with canaries in them, and the status that each gets with the settings as they come."""
    message = {"role": "user", "content": TEXT}

    def body(**more: Any) -> bytes:
        return json.dumps({"model": "echo", "messages": [message], **more}).encode()

    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":' * 1000 + json.dumps(TEXT) + "}" * 1000}}
    return [
        ("malformed", TEXT.encode(), 400),
        ("half a body", body()[:-20], 400),
        ("invalid UTF-8", body().replace(b"Sarah", b"\xffSarah"), 400),
        ("a lone surrogate", body().replace(b"Sarah", b"\\ud800Sarah"), 400),
        ("wrong types", body(messages=TEXT), 400),
        ("10 MB", body(messages=[{"role": "user", "content": TEXT * 70_000}]), 413),
        ("10,000 messages", body(messages=[{"role": "user", "content": CANARIES["name"]}] * 10_000), 413),
        ("1,000 deep", body(messages=[{"role": "assistant", "content": None, "tool_calls": [call]}]), 413),
        ("an image", body(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": TEXT}}]}]), 400),
        ("an unknown field", body(documents=[TEXT]), 400),
        ("an unknown model", body(model=CANARIES["mail"]), 404),
        ("a server that fails", body(model="fail"), 502),
        ("a server that fails to stream", body(model="fail", stream=True), 502),
        ("a server that cuts its stream", body(model="cut", stream=True), 200),
    ]


def test_no_canary_stands_in_a_log_a_metric_an_error_or_the_store(before_echo: Any) -> None:
    client = before_echo.client()
    ask(client, "echo", user=CANARIES["name"], metadata={"who": CANARIES["mail"]}, extra_headers={"x-llmos-conversation": TEXT})
    places: dict[str, str] = {}
    headers = {"authorization": "Bearer sk-llmos-end-to-end", "x-request-id": CANARIES["name"]}
    for name, raw, status in bad_requests():
        reply = httpx.post(before_echo.url + "/v1/chat/completions", headers=headers, content=raw, timeout=60)
        assert reply.status_code == status, name
        if status != 200:
            assert reply.json()["error"]["code"], name
            places[name] = reply.text + str(reply.headers)
    with pytest.raises(openai.APIError) as broken_off:
        list(ask(client, "cut", stream=True))
    places["a broken stream"] = str(broken_off.value)
    time.sleep(1.2)  # the append-only file is flushed every second
    places["metrics"] = httpx.get(before_echo.url + "/metrics", timeout=60).text
    for path in sorted(before_echo.data_dir.rglob("*")):
        if path.is_file():
            places[str(path.relative_to(before_echo.data_dir))] = path.read_bytes().decode("latin-1")
    assert any("appendonly" in name for name in places)
    assert "serve.log" in places
    for place, content in places.items():
        for value in CANARIES.values():
            assert value not in content, place
            assert value.replace(" ", "").replace("-", "") not in content, place
    assert httpx.get(before_echo.url + "/readyz", timeout=60).status_code == 200


@pytest.mark.vllm
class TestRealVllm:
    """The same with SmolLM2 on vLLM."""

    def test_chat_whole_and_streamed(self, before_vllm: Any) -> None:
        client = before_vllm.client()
        more: Any = {"max_tokens": 24, "temperature": 0, "extra_body": {"ignore_eos": True}}
        answer = ask(client, "smollm2", **more)
        assert answer.choices[0].message.content
        assert answer.usage.completion_tokens == 24
        chunks = list(ask(client, "smollm2", stream=True, stream_options={"include_usage": True}, **more))
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)  # not the same words: a busy vLLM rounds otherwise
        assert chunks[-1].usage.completion_tokens == 24
        assert len(chunks) > 8

    def test_sampling_fields_choices_stop_and_logprobs(self, before_vllm: Any) -> None:
        client = before_vllm.client()
        plain: Any = [{"role": "user", "content": "Count: one two three"}]
        answer = client.chat.completions.create(
            model="smollm2",
            messages=plain,
            n=2,
            max_tokens=8,
            stop=["\n\n"],
            logprobs=True,
            top_logprobs=2,
            extra_body={"top_k": 20, "min_p": 0.05, "min_tokens": 2},
        )
        assert [choice.index for choice in answer.choices] == [0, 1]
        assert answer.choices[0].logprobs.content[0].top_logprobs

    def test_the_choices_of_a_stream_end_each_for_itself(self, before_vllm: Any) -> None:
        chunks = list(ask(before_vllm.client(), "smollm2", n=2, max_tokens=12, temperature=1, seed=3, stream=True))
        finished = [choice.index for chunk in chunks for choice in chunk.choices if choice.finish_reason]
        assert sorted(finished) == [0, 1]
        assert all(chunk.usage is None for chunk in chunks), "usage that nobody asked for stays with the gateway"

    def test_logprobs_where_nothing_was_replaced_and_a_refusal_where_something_was(self, before_vllm: Any) -> None:
        client = before_vllm.client()
        plain: Any = [{"role": "user", "content": "1 + 1 ="}]
        chunks = client.chat.completions.create(
            model="smollm2", messages=plain, max_tokens=4, logprobs=True, top_logprobs=1, temperature=0, stream=True
        )
        choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
        tokens = "".join(each.token for choice in choices if choice.logprobs for each in choice.logprobs.content)
        assert tokens.startswith("".join(choice.delta.content or "" for choice in choices))  # the end token has no text
        with pytest.raises(openai.BadRequestError) as refused:
            ask(client, "smollm2", max_tokens=4, logprobs=True)
        assert refused.value.param == "logprobs"

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_named_tool_is_called(self, before_vllm: Any, stream: bool) -> None:
        parameters = {
            "type": "object",
            "properties": {"urgent": {"type": "boolean"}},
            "required": ["urgent"],
            "additionalProperties": False,
        }
        tool: Any = {"type": "function", "function": {"name": "mail", "description": f"Mail {CANARIES['name']}", "parameters": parameters}}
        choice: Any = {"type": "function", "function": {"name": "mail"}}
        answer = ask(before_vllm.client(), "smollm2", tools=[tool], tool_choice=choice, max_tokens=200, temperature=0, stream=stream)
        if stream:
            chunks = [chunk.choices[0] for chunk in answer if chunk.choices]
            calls, finish = [call for choice in chunks for call in choice.delta.tool_calls or ()], chunks[-1].finish_reason
        else:
            calls, finish = answer.choices[0].message.tool_calls or [], answer.choices[0].finish_reason
        # vLLM gives a call once it is complete, and a model of this size does not complete each
        assert {call.function.name for call in calls if call.function.name} == {"mail"} if calls else finish == "length"

    def test_a_conversation_goes_on_with_a_tools_result(self, before_vllm: Any) -> None:
        call = {"id": "c1", "type": "function", "function": {"name": "mail", "arguments": json.dumps({"to": CANARIES["mail"]})}}
        messages: Any = [
            {"role": "user", "content": TEXT},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": f"sent to {CANARIES['mail']}"},
        ]
        answer = before_vllm.client().chat.completions.create(model="smollm2", messages=messages, max_tokens=8)
        assert answer.choices[0].finish_reason in ("stop", "length")

    def test_a_json_schema_shapes_the_answer(self, before_vllm: Any) -> None:
        schema = {"type": "object", "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}}, "required": ["city"]}
        answer = before_vllm.client().chat.completions.create(
            model="smollm2",
            messages=[{"role": "user", "content": "The capital of France, as JSON"}],
            max_tokens=40,
            response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema}},
        )
        assert json.loads(answer.choices[0].message.content)["city"] in ("Paris", "Rome")

    def test_completions_and_responses(self, before_vllm: Any) -> None:
        client = before_vllm.client()
        more: Any = {"max_tokens": 5, "temperature": 0, "extra_body": {"min_tokens": 5}}  # a model may also say nothing at all
        assert client.completions.create(model="smollm2", prompt=TEXT, **more).choices[0].text
        two = list(client.completions.create(model="smollm2", prompt=[TEXT, "1, 2,"], stream=True, **more))
        assert {choice.index for chunk in two for choice in chunk.choices if choice.text} == {0, 1}
        with pytest.raises(openai.BadRequestError):
            client.completions.create(model="smollm2", prompt=[[1, 2, 3]], max_tokens=5)
        response = client.responses.create(model="smollm2", input=TEXT, instructions="Be brief.", max_output_tokens=16)
        assert response.status in ("completed", "incomplete")
        assert response.usage.output_tokens
        assert response.instructions == "Be brief."
        events = list(client.responses.create(model="smollm2", input=TEXT, max_output_tokens=16, stream=True))
        text = "".join(each.delta for each in events if each.type == "response.output_text.delta")
        assert events[-1].response.output_text == text
        with client.responses.stream(model="smollm2", input="Say yes.", max_output_tokens=8) as helper:
            assert helper.get_final_response().status in ("completed", "incomplete")
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model="smollm2", input="And then?", previous_response_id=response.id)
        assert refused.value.param == "previous_response_id"

    def test_the_async_client(self, before_vllm: Any) -> None:
        script = (
            "import asyncio, openai, sys\n"
            "async def main():\n"
            "    client = openai.AsyncOpenAI(base_url=sys.argv[1], api_key='sk-llmos-end-to-end')\n"
            "    stream = await client.chat.completions.create(model='smollm2', stream=True, max_tokens=5,\n"
            "        messages=[{'role': 'user', 'content': 'Hi'}])\n"
            "    print(sum([1 async for chunk in stream]))\n"
            "asyncio.run(main())\n"
        )
        import sys

        done = subprocess.run(
            [sys.executable, "-c", script, before_vllm.url + "/v1"], capture_output=True, text=True, timeout=60, check=True
        )
        assert int(done.stdout) >= 2

    def test_embeddings_without_a_pooling_server(self, before_vllm: Any) -> None:
        with pytest.raises(openai.NotFoundError):
            before_vllm.client().embeddings.create(model="smollm2", input="x")
