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


def test_no_canary_stands_in_a_log_a_metric_an_error_or_the_store(before_echo: Any) -> None:
    client = before_echo.client()
    ask(client, "echo")
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, "echo", extra_body={"chat_template": CANARIES["name"]})
    with pytest.raises(openai.NotFoundError) as unknown:
        ask(client, CANARIES["name"])
    broken = httpx.post(
        before_echo.url + "/v1/chat/completions", headers={"authorization": "Bearer sk-llmos-end-to-end"}, content=TEXT.encode()
    )
    time.sleep(1.2)  # the append-only file is flushed every second
    places = {
        "errors": refused.value.response.text + unknown.value.response.text + broken.text,
        "metrics": httpx.get(before_echo.url + "/metrics").text,
    }
    for path in sorted(before_echo.data_dir.rglob("*")):
        if path.is_file():
            places[str(path.relative_to(before_echo.data_dir))] = path.read_bytes().decode("latin-1")
    assert any("appendonly" in name for name in places)
    for place, content in places.items():
        for value in CANARIES.values():
            assert value not in content, place
            assert value.replace(" ", "").replace("-", "") not in content, place


@pytest.mark.vllm
class TestRealVllm:
    """The same with SmolLM2 on vLLM."""

    def test_chat_whole_and_streamed(self, before_vllm: Any) -> None:
        client = before_vllm.client()
        answer = ask(client, "smollm2", max_tokens=24, temperature=0)
        assert answer.choices[0].message.content
        assert answer.usage.completion_tokens == 24
        chunks = list(ask(client, "smollm2", max_tokens=24, temperature=0, stream=True, stream_options={"include_usage": True}))
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == answer.choices[0].message.content
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
            stop=["\n"],
            logprobs=True,
            top_logprobs=2,
            extra_body={"top_k": 20, "min_p": 0.05},
        )
        assert [choice.index for choice in answer.choices] == [0, 1]
        assert answer.choices[0].logprobs.content[0].top_logprobs

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
        assert client.completions.create(model="smollm2", prompt=TEXT, max_tokens=5).choices[0].text
        response = client.responses.create(model="smollm2", input=TEXT, instructions="Be brief.", max_output_tokens=16)
        assert response.output_text
        assert response.instructions == "Be brief."
        events = list(client.responses.create(model="smollm2", input=TEXT, max_output_tokens=16, stream=True))
        text = "".join(each.delta for each in events if each.type == "response.output_text.delta")
        assert events[-1].response.output_text == text

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
