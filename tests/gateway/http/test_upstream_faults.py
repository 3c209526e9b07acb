"""A model server that fails, in each way that one can: a typed error, no text in it, and the gateway stays up."""

import time
from typing import Any

import httpx
import openai
import pytest

from gateway.http.limits import WireLimits

ASK: Any = [{"role": "user", "content": "I am Sarah Connor. " * 20}]


def wait_for(condition: Any, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("fail-500", 502, "upstream_failed"),
        ("fail-400", 400, "bad_request"),
        ("fail-429", 429, "rate_limit_exceeded"),
        ("context", 400, "context_length_exceeded"),
        ("not-json", 502, "upstream_failed"),
        ("array", 502, "upstream_failed"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_has_its_status_and_none_of_the_servers_words(llmos: Any, model: str, status: int, code: str, stream: bool) -> None:
    with pytest.raises(openai.APIStatusError) as failed:
        llmos.client().chat.completions.create(model=model, messages=ASK, stream=stream)
    assert failed.value.status_code == status
    assert failed.value.code == code
    assert "Jensen" not in failed.value.response.text
    assert "Connor" not in failed.value.response.text
    if model == "fail-429":
        assert failed.value.response.headers["retry-after"] == "7"
    if model == "context":
        assert "2048" in failed.value.message
    if model == "fail-400":
        assert failed.value.param == "temperature"


@pytest.mark.parametrize("model", ["cut", "broken", "error-event"])
def test_a_stream_that_breaks_ends_in_an_error_that_the_sdk_raises(llmos: Any, model: str) -> None:
    stream = llmos.client().chat.completions.create(model=model, messages=ASK, stream=True)
    with pytest.raises(openai.APIError) as failed:
        list(stream)
    assert "Jensen" not in str(failed.value)
    assert failed.value.body["code"] == "upstream_failed"
    wait_for(lambda: llmos.audit.records[-1][0] == "outcome")
    assert llmos.audit.records[-1][1]["outcome"] == "upstream_failed"


def test_a_server_that_is_down(llmos: Any, start_gateway: Any) -> None:
    port, llmos.upstream.port = llmos.upstream.port, 9
    try:
        with start_gateway() as down:
            with pytest.raises(openai.InternalServerError) as failed:
                down.client().chat.completions.create(model="echo", messages=ASK)
            assert (failed.value.status_code, failed.value.code) == (502, "upstream_failed")
            assert httpx.get(down.url + "/readyz").status_code == 503
            assert httpx.get(down.url + "/healthz").status_code == 200
    finally:
        llmos.upstream.port = port


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_is_silent(recorder: Any, start_gateway: Any, stream: bool) -> None:
    with start_gateway(idle_timeout_s=0.3) as llmos, pytest.raises(openai.InternalServerError) as failed:
        llmos.client().chat.completions.create(model="slow", messages=ASK, stream=stream)
    assert (failed.value.status_code, failed.value.code) == (504, "upstream_timeout")


def test_the_deadline_of_a_request_ends_a_stream(start_gateway: Any) -> None:
    limits = WireLimits(max_body_bytes=100_000, request_timeout_s=0.5, max_concurrent_requests=8)
    with start_gateway(limits=limits) as llmos:
        with pytest.raises(openai.APIError) as failed:
            list(llmos.client().chat.completions.create(model="pausing", messages=ASK, stream=True))
        assert failed.value.body["code"] == "upstream_timeout"
        wait_for(lambda: llmos.audit.records and llmos.audit.records[-1][1].get("outcome") == "deadline")


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_ends_the_request_upstream(llmos: Any, stream: bool) -> None:
    model = "endless" if stream else "slow"
    with httpx.Client(timeout=httpx.Timeout(1.0)) as client:
        request = {"model": model, "messages": [{"role": "user", "content": "x"}], "stream": stream}
        headers = {"authorization": "Bearer sk-llmos-test-0000"}
        if stream:
            with client.stream("POST", llmos.url + "/v1/chat/completions", json=request, headers=headers) as reply:
                assert next(reply.iter_bytes())
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.post(llmos.url + "/v1/chat/completions", json=request, headers=headers)
    wait_for(lambda: llmos.audit.records and llmos.audit.records[-1][1].get("outcome") == "client_gone")
    if stream:
        wait_for(lambda: llmos.upstream.abandoned == 1)


def stands_still(upstream: Any) -> bool:
    """Whether the model server could send nothing more for 1.5 s; without back-pressure it sends hundreds of chunks a second."""
    before = upstream.sent_chunks
    time.sleep(1.5)
    return before > 0 and upstream.sent_chunks == before


def test_a_slow_reader_slows_the_model_server_instead_of_filling_memory(llmos: Any) -> None:
    request = {"model": "endless", "messages": [{"role": "user", "content": "x"}], "stream": True}
    with httpx.Client(timeout=20) as client:
        headers = {"authorization": "Bearer sk-llmos-test-0000"}
        with client.stream("POST", llmos.url + "/v1/chat/completions", json=request, headers=headers):
            wait_for(lambda: stands_still(llmos.upstream), 60)
    wait_for(lambda: llmos.upstream.abandoned == 1)


def test_more_requests_than_the_gate_takes_get_a_503_are_counted_and_cost_no_look_at_the_store(start_gateway: Any) -> None:
    limits = WireLimits(max_body_bytes=100_000, request_timeout_s=5, max_concurrent_requests=1)
    with start_gateway(limits=limits) as llmos:
        stream = llmos.client().chat.completions.create(model="pausing", messages=ASK, stream=True)
        next(iter(stream))
        asked, records = llmos.keys.asked, list(llmos.audit.records)
        for path in ("chat/completions", "mpc/relay"):
            refused = httpx.post(f"{llmos.url}/v1/{path}", json={}, headers={"authorization": "Bearer sk-llmos-test-0000"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
            assert int(refused.headers["retry-after"]) >= 1
        assert (llmos.keys.asked, llmos.audit.records) == (asked, records), "neither authenticated nor audited"
        assert "llmos_requests_turned_away_total 2.0" in httpx.get(llmos.url + "/metrics").text
        list(stream)
        wait_for(lambda: llmos.audit.records[-1][0] == "outcome")
        assert llmos.client().chat.completions.create(model="echo", messages=ASK).choices


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_by_a_limit_of_the_key_stands_in_the_audit_under_its_tenant(llmos: Any, stream: bool) -> None:
    llmos.limits.used_up = True
    with pytest.raises(openai.RateLimitError) as refused:
        llmos.client().chat.completions.create(model="echo", messages=ASK, stream=stream)
    assert int(refused.value.response.headers["retry-after"]) >= 1
    wait_for(lambda: llmos.audit.records)
    ((kind, record),) = llmos.audit.records
    assert (kind, record["tenant"], record["key_id"], record["policy"]) == ("outcome", "clinic", "k1", "test")
    assert (record["outcome"], record["status"], record["admitted"]) == ("rate_limit_exceeded", 429, False)
    assert "Sarah" not in str(record)
    assert llmos.upstream.bodies == []
