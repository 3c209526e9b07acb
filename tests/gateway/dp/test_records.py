"""A private record becomes placeholders by itself: nothing of another record, and nothing that could be reversed."""

import pytest

from gateway.dp.records import without_personal_data
from gateway.errors import PolicyRefusal
from gateway.exchange import Span
from policies.schema import Policy

POLICY = Policy.model_validate(
    {"id": "p", "entities": {"PERSON": {"action": "surrogate"}, "CITY": {"action": "allow"}, "SSN": {"action": "block"}}}
)
TEXT = "Ann Lee met Tom in Oslo."
SPANS = (Span(0, 7, "PERSON", 0.9), Span(12, 15, "PERSON", 0.8), Span(19, 23, "CITY", 0.9))


def test_spans_become_their_type_without_a_number() -> None:
    assert without_personal_data(TEXT, SPANS, POLICY) == "<PERSON> met <PERSON> in Oslo."


def test_the_same_record_is_the_same_text_whatever_came_before() -> None:
    first = without_personal_data(TEXT, SPANS, POLICY)
    without_personal_data("Tom", (Span(0, 3, "PERSON", 0.9),), POLICY)
    assert without_personal_data(TEXT, tuple(reversed(SPANS)), POLICY) == first


def test_an_entity_that_no_rule_names_is_replaced_too() -> None:
    assert without_personal_data("call 555", (Span(5, 8, "PHONE", 0.5),), POLICY) == "call <PHONE>"


def test_overlaps_leave_no_tail() -> None:
    assert without_personal_data("abcdef", (Span(0, 4, "PERSON", 0.9), Span(2, 6, "PHONE", 0.5)), POLICY) == "<PERSON>"


def test_a_blocked_entity_refuses_without_quoting_it() -> None:
    with pytest.raises(PolicyRefusal) as caught:
        without_personal_data("078-05-1120", (Span(0, 11, "SSN", 0.9),), POLICY)
    assert "078" not in caught.value.message
