"""Secret-shared inference through the gateway, with the real OpenAI SDK and real MPC processes of a tiny model."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from gateway.app import create_app
from gateway.settings import Settings, SettingsError
from mpc_inference import launch
from policies.schema import Policy, RouteRule, Routing

pytestmark = pytest.mark.timeout(180)
ASK: Any = [{"role": "user", "content": "w1 w2 w3 w4"}]


@pytest.fixture(scope="module")
def serving(recorder: Any, running_mpc: Path, mpc_gateway: Callable[..., Any]) -> Iterator[Any]:
    with mpc_gateway(running_mpc) as gateway:
        yield gateway


@pytest.fixture
def llmos(serving: Any) -> Any:
    serving.audit.records.clear()
    serving.upstream.bodies.clear()
    serving.policies.policy = Policy(id="test")
    return serving


def ask(client: openai.OpenAI, **more: Any) -> Any:
    return client.chat.completions.create(**({"model": "smollm2-mpc", "messages": ASK, "temperature": 0, "max_tokens": 6} | more))


def test_whole_and_streamed_answers_are_the_same_and_count_their_tokens(llmos: Any) -> None:
    whole = ask(llmos.client())
    assert whole.model == "smollm2-mpc"
    assert whole.choices[0].message.role == "assistant"
    assert whole.choices[0].finish_reason in ("stop", "length")
    events = list(ask(llmos.client(), stream=True, stream_options={"include_usage": True}))
    said = "".join(e.choices[0].delta.content or "" for e in events if e.choices)
    assert said == whole.choices[0].message.content
    assert said.strip()
    assert events[0].choices[0].delta.role == "assistant"
    assert [e.choices[0].finish_reason for e in events if e.choices][-1] == whole.choices[0].finish_reason
    assert events[-1].usage == whole.usage
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert not llmos.upstream.bodies, "nothing went to the other model server"


def test_stop_max_tokens_and_seed(llmos: Any) -> None:
    client = llmos.client()
    free = ask(client, temperature=1.5, seed=5, max_tokens=5)
    assert ask(client, temperature=1.5, seed=5, max_tokens=5).choices[0].message.content == free.choices[0].message.content
    word = free.choices[0].message.content.split()[1]
    stopped = ask(client, temperature=1.5, seed=5, max_tokens=5, stop=[word])
    assert stopped.choices[0].finish_reason == "stop"
    assert word not in stopped.choices[0].message.content
    short = ask(client, temperature=1.5, seed=5, max_tokens=2)
    assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 2)


def test_several_choices_are_drawn_and_the_prompt_counts_once(llmos: Any) -> None:
    one, three = (ask(llmos.client(), temperature=2, n=n, max_tokens=8) for n in (1, 3))
    assert [choice.index for choice in three.choices] == [0, 1, 2]
    assert any(choice.message.content for choice in three.choices)
    # A drawn choice can end early by the end token; a choice that ran to its length has all eight.
    ended = sum(choice.finish_reason == "stop" for choice in three.choices)
    assert 8 * (3 - ended) <= three.usage.completion_tokens <= 3 * 8
    assert ended or three.usage.completion_tokens == 3 * 8
    assert three.usage.prompt_tokens == one.usage.prompt_tokens
    seen = {e.choices[0].index for e in ask(llmos.client(), temperature=2, n=3, stream=True) if e.choices}
    assert seen == {0, 1, 2}


def test_completions(llmos: Any) -> None:
    answer = llmos.client().completions.create(model="smollm2-mpc", prompt=["w1 w2", "w3"], temperature=0, max_tokens=3)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.usage.prompt_tokens == 3 + 2
    events = list(llmos.client().completions.create(model="smollm2-mpc", prompt="w1 w2", temperature=0, max_tokens=3, stream=True))
    assert "".join(e.choices[0].text for e in events if e.choices) == answer.choices[0].text


def test_the_model_is_listed_and_the_route_is_audited_and_counted(llmos: Any) -> None:
    assert "smollm2-mpc" in [model.id for model in llmos.client().models.list()]
    ask(llmos.client())
    (_, admission), (_, outcome) = llmos.audit.records
    assert admission["route"] == outcome["route"] == "mpc"
    assert outcome["tokens"]["completion_tokens"] >= 1
    metrics = httpx.get(llmos.url + "/metrics").text
    assert 'llmos_routed_total{route="mpc"}' in metrics
    assert "llmos_mpc_token_seconds_count" in metrics
    assert httpx.get(llmos.url + "/readyz").json()["parts"]["mpc"] == "ok"


@pytest.mark.parametrize(
    "rule",
    [RouteRule(models=("think",), to="mpc"), RouteRule(entities=("PERSON",), to="mpc")],
    ids=["by the model's name", "by what was found"],
)
def test_a_policy_s_rule_sends_another_model_to_mpc(llmos: Any, rule: RouteRule) -> None:
    llmos.policies.policy = Policy(id="test", routing=Routing(rules=(rule,)))
    messages = [{"role": "user", "content": "w1 Sarah Connor w2"}]
    answer = ask(llmos.client(), model="think", messages=messages)
    assert answer.model == "think"
    assert not llmos.upstream.bodies
    assert llmos.audit.records[0][1]["route"] == "mpc"
    calm = ask(llmos.client(), model="echo")
    assert calm.choices[0].message.content
    assert len(llmos.upstream.bodies) == 1


@pytest.mark.parametrize(
    ("more", "status", "code", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}, 400, "bad_request", "tools"),
        ({"logprobs": True}, 400, "bad_request", "logprobs"),
        ({"temperature": 3}, 400, "bad_request", None),
        ({"max_tokens": 500}, 400, "context_length_exceeded", None),
        ({"messages": [{"role": "user", "content": "w1 " * 200}]}, 400, "context_length_exceeded", None),
    ],
)
def test_bad_requests_are_refused_by_name(llmos: Any, more: dict[str, Any], status: int, code: str, param: str | None) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        ask(llmos.client(), **more)
    assert (refused.value.status_code, refused.value.code, refused.value.param) == (status, code, param)


@pytest.mark.parametrize("api", ["embeddings", "responses"])
def test_other_apis_are_refused(llmos: Any, api: str) -> None:
    with pytest.raises(openai.BadRequestError, match="chat completions and completions"):
        getattr(llmos.client(), api).create(model="smollm2-mpc", input="w1")


async def test_twenty_at_once_are_served_or_told_when_to_return(llmos: Any) -> None:
    async with llmos.async_client() as client:
        results = await asyncio.gather(
            *(client.chat.completions.create(model="smollm2-mpc", messages=ASK, max_tokens=10, temperature=2) for _ in range(20)),
            return_exceptions=True,
        )
        refused = [each for each in results if isinstance(each, openai.APIStatusError)]
        assert refused
        assert {each.status_code for each in refused} == {503}
        assert all(int(each.response.headers["retry-after"]) >= 1 for each in refused)
        served = [each for each in results if not isinstance(each, BaseException)]
        assert len(served) + len(refused) == 20
        assert len(served) >= 4, "as many as the queue holds"
        assert (await client.chat.completions.create(model="smollm2-mpc", messages=ASK, max_tokens=1)).choices


def test_a_client_that_leaves_frees_the_parties(llmos: Any, running_mpc: Path) -> None:
    stream = ask(llmos.client(), stream=True, max_tokens=100, temperature=2)
    next(iter(stream))
    stream.close()
    deadline = time.monotonic() + 10
    while launch.status(running_mpc)[0]["requests"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_unknown_name_is_answered_with_the_secret_shared_model_too(llmos: Any) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        ask(llmos.client(), model="smollm2-mcp")
    assert unknown.value.code == "model_not_found"
    assert "smollm2-mpc" in unknown.value.message
    with pytest.raises(openai.NotFoundError) as unknown:
        llmos.client().responses.create(model="smollm2-mcp", input="w1")
    assert "smollm2-mpc" not in unknown.value.message, "secret shares do not serve this API"


def test_without_a_deployment_the_model_is_unknown_and_a_rule_that_wants_it_is_a_typed_error(shared_gateway: Any) -> None:
    client = shared_gateway.client()
    with pytest.raises(openai.NotFoundError) as unknown:
        ask(client)
    assert unknown.value.code == "model_not_found"
    before = shared_gateway.policies.policy
    shared_gateway.policies.policy = Policy(id="test", routing=Routing(default="mpc"))
    try:
        with pytest.raises(openai.InternalServerError) as away:
            ask(client, model="echo")
    finally:
        shared_gateway.policies.policy = before
    assert (away.value.status_code, away.value.code) == (503, "unavailable")


def test_a_deployment_file_that_cannot_be_read_stops_the_start_with_a_message(tmp_path: Path) -> None:
    settings = Settings.read({}, upstream="http://127.0.0.1:1/v1", mpc_config=tmp_path / "mpc.yaml")
    with pytest.raises(SettingsError, match=r"LLMOS_MPC_CONFIG.*llmos mpc init"):
        create_app(settings)


@pytest.fixture
def killable(deploy_tiny_mpc: Callable[[Path], Path], tmp_path: Path) -> Iterator[tuple[Path, Any]]:
    config = deploy_tiny_mpc(tmp_path)
    with launch.up(config, production=False, logs=tmp_path / "logs") as processes:
        yield config, processes


@pytest.mark.parametrize("role", ["party0", pytest.param("party1", marks=pytest.mark.slow), pytest.param("dealer", marks=pytest.mark.slow)])
def test_a_process_that_stops_is_a_typed_error_in_time_and_the_next_request_works(
    mpc_gateway: Callable[..., Any], killable: tuple[Path, Any], role: str
) -> None:
    config, processes = killable
    with mpc_gateway(config) as llmos:
        client = llmos.client()
        assert ask(client).choices
        os.kill(processes[role].pid, signal.SIGSTOP)  # slow: it holds its connections and says nothing
        begun_s = time.monotonic()
        with pytest.raises(openai.APIStatusError) as slow:
            ask(client, max_tokens=60, temperature=2)
        assert slow.value.status_code in (502, 503, 504)
        assert time.monotonic() - begun_s < 15, "the deployment's deadline is 5 seconds"
        os.kill(processes[role].pid, signal.SIGKILL)
        processes[role].wait(10)
        with pytest.raises(openai.APIStatusError) as down:
            ask(client)
        assert down.value.status_code in (502, 503, 504)
        assert httpx.get(llmos.url + "/readyz").status_code == 503
        processes[role] = launch.start(role, config)
        launch.wait_ready(config, 40)
        assert ask(client).choices[0].message.content
