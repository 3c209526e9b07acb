"""/v1/completions, /v1/responses, /v1/embeddings, /v1/models with the real OpenAI SDK, and the pages for operators."""

from typing import Any

import httpx
import openai
import pytest

from gateway.http.limits import WireLimits

KEY, MONITOR_KEY = "sk-llmos-test-0000", "sk-llmos-test-monitor"
NAME, STAND_IN = "Sarah Connor", "Maria Jensen"
TEXT = f"I am {NAME}."


@pytest.mark.parametrize("stream", [False, True])
def test_completions_restore_each_prompt(llmos: Any, stream: bool) -> None:
    prompts = [TEXT, f"{NAME} again"]
    answer: Any = llmos.client().completions.create(model="echo", prompt=prompts, suffix=NAME, echo=True, stream=stream)
    texts = ["", ""]
    for each in answer if stream else [answer]:
        for choice in each.choices:
            texts[choice.index] += choice.text
    assert texts == prompts
    assert llmos.upstream.last["prompt"] == [f"I am {STAND_IN}.", f"{STAND_IN} again"]
    assert llmos.upstream.last["suffix"] == STAND_IN


@pytest.mark.parametrize("prompt", [[1, 2, 3], [[1, 2], [3]]])
def test_token_ids_are_refused(llmos: Any, prompt: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        llmos.client().completions.create(model="echo", prompt=prompt)
    assert refused.value.code == "unsupported_content"
    with pytest.raises(openai.BadRequestError) as refused:
        llmos.client().embeddings.create(model="echo", input=prompt)
    assert "check_embedding_ctx_length" in refused.value.message


def test_embeddings_are_made_of_scrubbed_text(llmos: Any) -> None:
    answer = llmos.client().embeddings.create(model="echo", input=[TEXT, "plain"], encoding_format="float")
    assert llmos.upstream.last["input"] == [f"I am {STAND_IN}.", "plain"]
    assert [each.embedding for each in answer.data] == [[0.5, 0.25], [0.5, 0.25]]


def test_embeddings_without_a_server_for_them_are_a_typed_error(start_gateway: Any) -> None:
    with start_gateway(embeddings=False) as llmos, pytest.raises(openai.NotFoundError) as refused:
        llmos.client().embeddings.create(model="echo", input="x")
    assert refused.value.code == "model_not_found"
    assert "LLMOS_EMBEDDINGS_UPSTREAM" in refused.value.message


def test_a_response_is_restored_and_repeats_the_callers_own_request(llmos: Any) -> None:
    tools: Any = [{"type": "function", "name": "f", "description": NAME, "parameters": {"type": "object"}, "strict": True}]
    answer = llmos.client().responses.create(
        model="echo", input=TEXT, instructions=f"Serve {NAME}", tools=tools, metadata={"for": NAME}, user=NAME
    )
    assert answer.output_text == TEXT
    assert answer.instructions == f"Serve {NAME}"
    assert answer.tools[0].description == NAME
    assert answer.metadata == {"for": NAME}
    sent = llmos.upstream.last
    assert sent["instructions"] == f"Serve {STAND_IN}"
    assert sent["store"] is False
    assert NAME not in llmos.upstream.raw()


def test_the_items_of_a_conversation_are_scrubbed(llmos: Any) -> None:
    items: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": TEXT}]},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": NAME}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"who": "Sarah Connor"}'},
        {"type": "function_call_output", "call_id": "c1", "output": NAME},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": NAME, "annotations": []}]},
        {"role": "user", "content": NAME},
    ]
    llmos.client().responses.create(model="echo", input=items)
    assert NAME not in llmos.upstream.raw()
    assert llmos.upstream.raw().count(STAND_IN) == 6


def test_a_streamed_response_says_the_same_in_deltas_and_in_the_end(llmos: Any) -> None:
    events = list(llmos.client().responses.create(model="echo", input=f"{TEXT} Mar", instructions=NAME, stream=True))
    deltas = [each.delta for each in events if each.type == "response.output_text.delta"]
    done = next(each for each in events if each.type == "response.output_text.done")
    completed = events[-1]
    assert completed.type == "response.completed"
    assert "".join(deltas) == done.text == completed.response.output_text == f"{TEXT} Mar"
    assert len(deltas) > 3
    assert [each.sequence_number for each in events] == list(range(len(events)))
    assert completed.response.instructions == NAME


@pytest.mark.parametrize(
    "field",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"background": True},
        {"store": True},
        {"prompt": {"id": "p"}},
        {"include": ["message.output_text.logprobs"]},
    ],
)
def test_stored_state_is_refused_by_name(llmos: Any, field: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        llmos.client().responses.create(model="echo", input="x", **field)
    assert refused.value.param == next(iter(field))
    assert llmos.upstream.bodies == []


@pytest.mark.parametrize("tool", [{"type": "web_search"}, {"type": "mcp", "server_label": "x", "server_url": "http://x"}])
def test_tools_of_the_server_are_refused(llmos: Any, tool: Any) -> None:
    with pytest.raises(openai.BadRequestError):
        llmos.client().responses.create(model="echo", input="x", tools=[tool])


def test_models_are_listed_to_those_with_a_key(llmos: Any) -> None:
    assert "echo" in [each.id for each in llmos.client().models.list()]
    assert llmos.client().models.retrieve("echo").id == "echo"
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=llmos.url + "/v1", api_key="wrong", max_retries=0).models.list()
    with pytest.raises(openai.NotFoundError):
        llmos.client().models.retrieve("nothing/../like/this")


def test_an_unknown_model_is_refused_with_those_that_are_served(llmos: Any) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        llmos.client().chat.completions.create(model=f"../../{NAME}", messages=[{"role": "user", "content": "x"}])
    assert refused.value.code == "model_not_found"
    assert "echo" in refused.value.message
    assert NAME not in refused.value.response.text
    assert llmos.upstream.bodies == []


def test_the_pages_for_operators(llmos: Any) -> None:
    llmos.client().chat.completions.create(model="echo", messages=[{"role": "user", "content": TEXT}])
    assert httpx.get(llmos.url + "/healthz").json() == {"status": "ok"}
    ready = httpx.get(llmos.url + "/readyz")
    assert (ready.status_code, ready.json()["parts"]) == (200, {"upstream": "ok"})
    page = httpx.get(llmos.url + "/metrics").text
    assert 'llmos_requests_total{api="chat.completions",outcome="ok"}' in page
    assert 'llmos_values_total{action="surrogate",entity="PERSON"}' in page
    assert 'llmos_stage_seconds_count{stage="scrub"}' in page
    assert NAME not in page
    missing = httpx.get(llmos.url + "/nothing")
    assert missing.status_code == 404
    assert missing.json()["error"]["type"] == "invalid_request_error"
    assert missing.headers["x-request-id"].startswith("req_")
    assert httpx.get(llmos.url + "/v1/chat/completions").status_code == 405


def test_metrics_ask_for_a_key_where_the_deployment_says_so(start_gateway: Any) -> None:
    limits = WireLimits(max_body_bytes=1000, request_timeout_s=5, max_concurrent_requests=2, metrics_need_key=True)
    with start_gateway(limits=limits) as llmos:
        assert httpx.get(llmos.url + "/metrics").json()["error"]["code"] == "invalid_api_key"
        refused = httpx.get(llmos.url + "/metrics", headers={"authorization": f"Bearer {KEY}"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden"), "a caller's key reads no metrics"
        page = httpx.get(llmos.url + "/metrics", headers={"authorization": f"Bearer {MONITOR_KEY}"}).text
    assert "llmos_requests_in_progress" in page
