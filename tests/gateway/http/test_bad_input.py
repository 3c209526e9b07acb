"""Each bad input gets its clear error, quotes nothing, and leaves the server up."""

import json
import logging
from typing import Any

import httpx
import openai
import pytest

KEY = "sk-llmos-test-0000"
CANARY = "Sarah Connor"
HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}


def body(**more: Any) -> dict[str, Any]:
    return {"model": "echo", "messages": [{"role": "user", "content": CANARY}], **more}


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


TABLE: list[tuple[str, bytes, int, str]] = [
    ("no JSON", b"{" + CANARY.encode(), 400, "bad_request"),
    ("empty", b"", 400, "bad_request"),
    ("an array", b'["Sarah Connor"]', 400, "bad_request"),
    ("invalid UTF-8", b'{"model":"echo","messages":[{"role":"user","content":"\xff\xfe"}]}', 400, "bad_request"),
    ("a lone surrogate", b'{"model":"echo","messages":[{"role":"user","content":"\\ud800"}]}', 400, "bad_request"),
    ("a raw lone surrogate", b'{"model":"echo","messages":[{"role":"user","content":"\xed\xa0\x80"}]}', 400, "bad_request"),
    ("no model", json.dumps({"messages": []}).encode(), 400, "bad_request"),
    ("a model that is a list", json.dumps(body(model=[CANARY])).encode(), 400, "bad_request"),
    ("no messages", b'{"model":"echo"}', 400, "bad_request"),
    ("messages that are text", json.dumps(body(messages=CANARY)).encode(), 400, "bad_request"),
    ("a message that is text", json.dumps(body(messages=[CANARY])).encode(), 400, "bad_request"),
    ("a message without content", json.dumps(body(messages=[{"role": "user"}])).encode(), 400, "bad_request"),
    ("content that is a number", json.dumps(body(messages=[{"role": "user", "content": 4155550132}])).encode(), 400, "bad_request"),
    ("an unknown role", json.dumps(body(messages=[{"role": CANARY, "content": ""}])).encode(), 400, "unsupported_content"),
    ("a temperature that is text", json.dumps(body(temperature=CANARY)).encode(), 400, "bad_request"),
    ("a field with an odd name", json.dumps(body(**{CANARY: 1})).encode(), 400, "unknown_field"),
    ("a bias with a text key", json.dumps(body(logit_bias={CANARY: 1})).encode(), 400, "bad_request"),
    ("an id that is text", json.dumps(body(messages=[{"role": "tool", "tool_call_id": CANARY, "content": ""}])).encode(),
        400, "bad_request"),
    ("10,000 messages", json.dumps(body(messages=[{"role": "user", "content": ""}] * 5000)).encode(), 413, "request_too_large"),
    ("a body over the limit", json.dumps(body(messages=[{"role": "user", "content": "x" * 300_000}])).encode(), 413, "request_too_large"),
    ("1,000 levels in a tool's schema", (
        '{"model":"echo","messages":[],"tools":[{"type":"function","function":{"name":"f","parameters":'
        + '{"properties":{"a":' * 400 + "true" + "}}" * 400 + "}}]}").encode(), 413, "request_too_large"),
    ("1,000 levels in arguments", json.dumps(body(messages=[{"role": "assistant", "content": None, "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": nested(1000)}}]}])).encode(), 413, "request_too_large"),
    ("100,000 levels", b'{"model":"echo","messages":' + b"[" * 90_000 + b"]" * 90_000 + b"}", 400, "bad_request"),
    ("a lone surrogate in arguments", json.dumps(body(messages=[{"role": "assistant", "content": None, "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "\\ud800"}'}}]}])).encode(), 400, "bad_request"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "status", "code"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_bad_input(llmos: Any, caplog: pytest.LogCaptureFixture, raw: bytes, status: int, code: str) -> None:
    caplog.set_level(logging.DEBUG)
    reply = httpx.post(llmos.url + "/v1/chat/completions", headers=HEADERS, content=raw, timeout=20)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["type"]) == (status, code, "invalid_request_error")
    assert set(error) == {"message", "type", "param", "code"}
    assert CANARY not in reply.text
    assert CANARY not in caplog.text
    assert llmos.upstream.bodies == []
    assert reply.headers["x-request-id"].startswith("req_")
    assert llmos.audit.records[-1][1]["outcome"] == code
    assert CANARY not in json.dumps(llmos.audit.records)
    assert httpx.get(llmos.url + "/healthz").status_code == 200


def test_a_body_of_10_mb_is_refused_before_it_is_read(llmos: Any) -> None:
    def drip() -> Any:
        for _ in range(160):
            yield b"x" * 65_536

    reply = httpx.post(llmos.url + "/v1/chat/completions", headers=HEADERS, content=drip(), timeout=20)
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("authorization", [None, "Bearer", "Basic abc", "Bearer wrong", "Bearer " + "x" * 5000, "Bearer \xff"])
def test_without_a_key_nothing_is_even_read(llmos: Any, authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization.encode("latin-1")}
    reply = httpx.post(llmos.url + "/v1/chat/completions", headers=headers, json=body())
    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")
    assert llmos.upstream.bodies == []


@pytest.mark.parametrize(
    ("switch", "status", "code", "retry"),
    [("fails", 503, "detector_failed", None), ("vault_fails", 503, "store_unavailable", None), ("blocks", 403, "policy_refusal", "false")],
)
def test_it_fails_closed(llmos: Any, switch: str, status: int, code: str, retry: str | None) -> None:
    setattr(llmos.planted, switch, True)
    reply = httpx.post(llmos.url + "/v1/chat/completions", headers=HEADERS, json=body())
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert reply.headers.get("x-should-retry") == retry
    assert ("retry-after" in reply.headers) == (status == 503)
    assert llmos.upstream.bodies == []


def test_what_cannot_be_audited_is_not_served(llmos: Any) -> None:
    llmos.audit.fails = True
    with pytest.raises(openai.InternalServerError) as refused:
        llmos.client().chat.completions.create(model="echo", messages=[{"role": "user", "content": "x"}])
    assert refused.value.code == "store_unavailable"
    assert llmos.upstream.bodies == []


def test_the_admission_record_stands_before_the_request_goes_and_holds_no_content(llmos: Any) -> None:
    llmos.client().chat.completions.create(model="echo", messages=body()["messages"], user=CANARY)
    kinds = [kind for kind, _ in llmos.audit.records]
    admission, outcome = (record for _, record in llmos.audit.records)
    assert kinds == ["admission", "outcome"]
    assert admission["counts"] == {"PERSON:surrogate": 1}
    assert (outcome["outcome"], outcome["tokens"]["total_tokens"], outcome["policy_version"]) == ("ok", 12, 3)
    assert "Connor" not in json.dumps(llmos.audit.records)
    assert "Jensen" not in json.dumps(llmos.audit.records)
