"""What a request may ask of secret-shared inference, and what is refused by name."""

from typing import Any

import pytest

from gateway.backends.mpc_request import MAX_CHOICES, read_job
from gateway.errors import BadRequest

HELLO = {"messages": [{"role": "user", "content": "hello"}]}


def test_what_is_honoured_becomes_a_job() -> None:
    job = read_job(
        "chat.completions",
        HELLO | {"temperature": 0.5, "top_p": 0.9, "seed": 7, "max_completion_tokens": 9, "max_tokens": 4, "n": 2, "stop": "END"},
    )
    assert (job.temperature, job.top_p, job.seed, job.max_tokens, job.choices, job.stop) == (0.5, 0.9, 7, 9, 2, ("END",))


def test_defaults_are_openai_s() -> None:
    job = read_job("chat.completions", HELLO)
    assert (job.temperature, job.top_p, job.seed, job.max_tokens, job.choices, job.stop) == (1.0, 1.0, None, None, 1, ())
    assert read_job("completions", {"prompt": "a"}).max_tokens == 16
    assert read_job("completions", {"prompt": ["a", "b"], "max_tokens": 3}).prompts == ("a", "b")


def test_parts_are_joined_and_a_developer_speaks_as_the_system() -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "input_text", "text": "two"}]
    job = read_job("chat.completions", {"messages": [{"role": "developer", "content": "be brief"}, {"role": "user", "content": parts}]})
    assert job.messages == ({"role": "system", "content": "be brief"}, {"role": "user", "content": "one two"})


@pytest.mark.parametrize(
    "field",
    [
        {"frequency_penalty": 0.5},
        {"presence_penalty": 1},
        {"repetition_penalty": 1.2},
        {"logit_bias": {"5": 1}},
        {"logprobs": True},
        {"top_logprobs": 3},
        {"top_k": 5},
        {"min_p": 0.1},
        {"tools": [{"type": "function"}]},
        {"tool_choice": "required"},
        {"response_format": {"type": "json_object"}},
        {"bad_words": ["x"]},
        {"stop_token_ids": [3]},
        {"ignore_eos": True},
        {"use_beam_search": True},
        {"best_of": 2},
        {"echo": True},
        {"suffix": "x"},
        {"anything_new": 1},
    ],
)
def test_what_is_not_offered_is_refused_by_name(field: dict[str, Any]) -> None:
    (name,) = field
    with pytest.raises(BadRequest, match=f"`{name}`") as refused:
        read_job("chat.completions", HELLO | field)
    assert refused.value.param == name


@pytest.mark.parametrize(
    "field",
    [
        {"frequency_penalty": 0},
        {"presence_penalty": 0.0},
        {"repetition_penalty": 1.0},
        {"logit_bias": {}},
        {"logprobs": False},
        {"top_k": -1},
        {"tools": []},
        {"tool_choice": "auto"},
        {"response_format": {"type": "text"}},
        {"stream_options": {"include_usage": True}},
    ],
)
def test_a_field_that_asks_for_nothing_passes(field: dict[str, Any]) -> None:
    assert read_job("chat.completions", HELLO | field).choices == 1


@pytest.mark.parametrize(
    ("api", "body", "param"),
    [
        ("responses", {"input": "x"}, "model"),
        ("embeddings", {"input": "x"}, "model"),
        ("chat.completions", HELLO | {"n": 0}, "n"),
        ("chat.completions", HELLO | {"n": MAX_CHOICES + 1}, "n"),
        ("chat.completions", HELLO | {"max_tokens": 0}, "max_tokens"),
        ("chat.completions", HELLO | {"seed": 1.5}, "seed"),
        ("chat.completions", HELLO | {"temperature": True}, "temperature"),
        ("completions", {"prompt": []}, "prompt"),
        ("chat.completions", {"messages": [{"role": "tool", "content": "x", "tool_call_id": "c"}]}, "messages[0]"),
        ("chat.completions", {"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]}, "messages[0]"),
    ],
)
def test_bad_values_name_their_field(api: Any, body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_job(api, body)
    assert refused.value.param == param
