"""What a model says is kept where it looks like what it is said to be, and written-out line breaks are white space."""

from __future__ import annotations

import pytest

from gateway.pii.reading import Reading, breaks_as_white_space
from gateway.pii.recognizers.plausible import plausible


def kept(entity: str, text: str, value: str | None = None) -> list[str]:
    value = text if value is None else value
    start = text.index(value)
    return [text[left:right] for left, right in plausible(entity, text, start, start + len(value))]


@pytest.mark.parametrize(
    ("entity", "text", "value"),
    [
        ("PERSON", "ask Sarah Connor", "Sarah Connor"),
        ("PERSON", "ludwig van beethoven", "ludwig van beethoven"),
        ("GPE", "in Trinidad and Tobago", "Trinidad and Tobago"),
        ("ORGANIZATION", "works at IBM", "IBM"),
        ("STREET_ADDRESS", "12 Oak Street", "12 Oak Street"),
        ("ZIP_CODE", "my zip is 97477.", "97477"),
        ("DATE_TIME", "on 3 May", "3 May"),
    ],
)
def test_what_can_be_of_its_type_is_kept(entity: str, text: str, value: str) -> None:
    assert kept(entity, text, value) == [value]


@pytest.mark.parametrize(
    ("entity", "value"),
    [
        ("PERSON", "max_retries=5"),
        ("PERSON", "git log"),
        ("PERSON", "Kubernetes"),
        ("GPE", "0x80070002"),
        ("ORGANIZATION", "CPU"),
        ("ORGANIZATION", "@handle"),
        ("STREET_ADDRESS", "torque 45 Nm, grade 10.9"),
        ("STREET_ADDRESS", "Version 12"),
        ("ZIP_CODE", "1,079.41"),
        ("DATE_TIME", "2 = 6"),
        ("AGE", "3.5"),
    ],
)
def test_what_cannot_is_dropped(entity: str, value: str) -> None:
    assert kept(entity, value) == []


def test_a_name_is_cut_from_the_code_and_the_cells_around_it() -> None:
    assert kept("PERSON", "id_7 Ana Souza\nLukas Gruber") == ["Ana Souza", "Lukas Gruber"]
    assert kept("PERSON", "'Tariq Aziz'") == ["Tariq Aziz"]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (r"Elm St\nDover\tDE", "Elm St \nDover  DE"),
        (r"a\\nb", "a  \nb"),
        (r"C:\new\test and \\nas\home", r"C:\new\test and \\nas\home"),
        (r"Name:\nSue", "Name: \nSue"),
    ],
)
def test_written_breaks_are_white_space_of_the_same_length(text: str, read: str) -> None:
    assert breaks_as_white_space(text) == read
    assert len(read) == len(text)
    assert Reading(text).verbatim.text == text
