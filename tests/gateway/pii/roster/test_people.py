"""Reading rosters: both forms, and errors that name the line and never quote it."""

from __future__ import annotations

import json

import pytest

from gateway.pii.roster.people import Person, RosterError, read_people


def test_csv_and_json_lines_say_the_same() -> None:
    table = "name,aliases,phone,MEDICAL_RECORD\nSarah Connor,Sally;SC,+1 415 867 5309|020 7946 0018,MR-1\n"
    row = {
        "name": "Sarah Connor",
        "aliases": ["Sally", "SC"],
        "phones": ["+1 415 867 5309", "020 7946 0018"],
        "numbers": {"MEDICAL_RECORD": "MR-1"},
    }
    (of_csv,) = read_people(table.splitlines(keepends=True))
    (of_json,) = read_people([json.dumps(row) + "\n"])
    assert of_csv == of_json
    assert of_csv == Person(
        ("Sarah Connor", "Sally", "SC"), None, {"PHONE_NUMBER": ("+1 415 867 5309", "020 7946 0018"), "MEDICAL_RECORD": ("MR-1",)}
    )


def test_given_and_family_names_quoted_cells_a_byte_order_mark_and_blank_lines() -> None:
    lines = ["\ufeffLast Name,First Name\n", '"Connor, Jr.",Sarah\n', "\n", "Smith,John\n"]
    assert [person.parts for person in read_people(lines)] == [("Sarah", "", "Connor, Jr."), ("John", "", "Smith")]


def test_a_column_to_leave_out() -> None:
    (person,) = read_people(["name,notes\n", "Sarah Connor,secret\n"], ignored=frozenset({"notes"}))
    assert person == Person(("Sarah Connor",), None, {})


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "empty"),
        (["Sarah Canary,canary@x.org\n"], "header"),
        (["name,nmae2\n", "a,b\n"], "header"),
        (["notes\n", "a\n"], "'notes' is not known"),
        (["name,phone\n", "Sarah Canary\n"], "Line 2 has 1 cells"),
        (["name,phone\n", "Sarah Canary,1\n", " , \n"], "line 3, nobody"),
        (['{"name": "x"}\n', '{"name": "Canary"\n'], "Line 2 is not JSON"),
        (['{"name": {"first": "Canary"}}\n'], "`name` is not a string"),
        (['{"numbers": {"Canary": "1"}}\n'], "not an entity type"),
    ],
)
def test_an_error_names_the_line_and_quotes_nothing(lines: list[str], says: str) -> None:
    with pytest.raises(RosterError, match=says) as raised:
        list(read_people(lines))
    assert "canary" not in str(raised.value).casefold().replace("sarah canary", "")
    assert "Canary" not in str(raised.value)
