"""Text leaves: what is collected, under which context, and how it is written back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import TooLarge
from gateway.exchange import Span
from gateway.fields.answer_logprobs import LogprobGate
from gateway.fields.kinds import AnyJson, JsonText, Reading
from gateway.fields.leaves import Leaves, unescape_unicode

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def read(kind: Any, value: Any) -> tuple[Any, Leaves]:
    leaves = Leaves()
    holder: list[Any] = [None]
    kind.read(holder, 0, value, "x", Reading(leaves, max_depth=32))
    return holder, leaves


@given(json_values)
def test_filling_in_what_was_there_changes_nothing(value: Any) -> None:
    holder, leaves = read(AnyJson(), value)
    before = json.dumps(value, sort_keys=True)
    if leaves.texts == [text for text in leaves.texts if "\\u" not in text]:
        leaves.fill(leaves.texts)
        assert json.dumps(holder[0], sort_keys=True) == before
    assert json.dumps(value, sort_keys=True) == before, "the caller's own value was changed"


@given(json_values)
def test_every_string_and_every_odd_key_is_a_leaf(value: Any) -> None:
    holder, leaves = read(AnyJson(), value)
    leaves.fill(["#"] * len(leaves.texts))

    def strings(each: Any) -> Any:
        if isinstance(each, str):
            yield each
        elif isinstance(each, list):
            for member in each:
                yield from strings(member)
        elif isinstance(each, dict):
            for member in each.values():
                yield from strings(member)

    assert set(strings(holder[0])) <= {"#", ""}


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=4))
def test_arguments_are_written_again_as_the_same_json(value: dict[str, Any]) -> None:
    text = json.dumps(value)
    holder, leaves = read(JsonText(), text)
    leaves.fill([unescape_unicode(each) for each in leaves.texts])
    if not any("\\u" in each for each in leaves.texts):
        assert json.loads(holder[0]) == value


def test_a_key_is_the_context_of_its_value() -> None:
    holder, leaves = read(AnyJson(), {"ssn": 536904399, "note": ["a", "b"]})
    assert leaves.detection_texts() == ["ssn: 536904399", "note: a", "note: b"]
    spans = [(Span(0, 3, "X", 1.0), Span(5, 14, "US_SSN", 1.0)), (Span(4, 7, "X", 1.0),), ()]
    assert leaves.without_context(spans) == [(Span(0, 9, "US_SSN", 1.0),), (Span(0, 1, "X", 1.0),), ()]
    leaves.fill(["900112222", "a", "b"])
    assert holder[0] == {"ssn": 900112222, "note": ["a", "b"]}


def test_a_number_that_becomes_text_is_a_string() -> None:
    holder, leaves = read(AnyJson(), {"phone": 4155550132, "price": 1234567.5})
    leaves.fill(["[PHONE]", "1234567.5"])
    assert holder[0] == {"phone": "[PHONE]", "price": 1234567.5}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\u674e\u56db", "李四"),
        (r"\ud83d\ude42 ok", "🙂 ok"),
        (r"\ud83d alone", r"\ud83d alone"),
        (r"a\u0022b\u000a", r"a\u0022b\u000a"),
        (r"\u0022\u674e", "\\u0022李"),
        (r"C:\users", r"C:\users"),
    ],
)
def test_escapes_beyond_ascii_become_characters(text: str, expected: str) -> None:
    assert unescape_unicode(text) == expected


def test_depth_is_bounded() -> None:
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    with pytest.raises(TooLarge):
        read(AnyJson(), deep)
    with pytest.raises(TooLarge):
        read(JsonText(), "[" * 100_000)


def test_broken_arguments_are_one_leaf() -> None:
    holder, leaves = read(JsonText(), '{"to": "Sarah Con')
    assert leaves.texts == ['{"to": "Sarah Con']
    leaves.fill(["#"])
    assert holder == ["#"]


@given(st.text(max_size=30), st.lists(st.integers(1, 5), min_size=1, max_size=20), st.integers(0, 6))
def test_logprobs_go_out_with_their_text_and_no_sooner(text: str, sizes: list[int], held: int) -> None:
    gate, came, went = LogprobGate(), "", ""
    shown = ""
    at = 0
    for size in sizes:
        piece = text[at : at + size]
        at += size
        came += piece
        release = came[len(went) : max(len(went), len(came) - held)]
        went += release
        passed = gate.pass_on(piece, release, {"content": [piece]} if piece else None)
        shown += "".join(passed["content"]) if passed else ""
        assert went.startswith(shown)
    passed = gate.pass_on("", came[len(went) :], None)
    shown += "".join(passed["content"]) if passed else ""
    assert shown == came
