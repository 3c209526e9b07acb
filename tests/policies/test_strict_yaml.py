"""What a policy document may be written in, and that nothing else comes through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.strict_yaml import MAX_DOCUMENT_BYTES, PolicyError, parse


def test_plain_scalars_have_the_types_of_yaml_1_2() -> None:
    text = "a: off\nb: yes\nc: 1:30\nd: 2024-01-01\ne: 012\nf: 12\ng: 1.5\nh: true\ni: null\nj: '12'\nk: 1e3\nl: .\nm: -\n"
    assert parse(text.replace("m: -\n", "")).root == {
        "a": "off", "b": "yes", "c": "1:30", "d": "2024-01-01", "e": "012", "f": 12, "g": 1.5, "h": True, "i": None,
        "j": "12", "k": 1000.0, "l": ".",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb: &x 2\n", 2, "anchors"),
        ("a: &x [1]\nb: *x\n", 1, "anchors"),
        ("a: !!python/object:os.system x\n", 1, "tags"),
        ("a: 1\nb: 2\na: 3\n", 3, "stands twice"),
        ("a: 1\n<<: {b: 2}\n", 2, "merge keys"),
        ("- a\n", 1, "mapping"),
        ("a: [1\nb: 2\n", 2, "not YAML"),
        ("? [a]\n: 1\n", 1, "plain word"),
        ("a: " + "[" * 40 + "]" * 40, 1, "deeper"),
    ],
)
def test_a_refused_document_names_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(PolicyError, match=says) as caught:
        parse(text)
    assert caught.value.line == line


@pytest.mark.parametrize("text", ["", "# nothing\n", "a: 1\n---\nb: 2\n"])
def test_one_document_is_asked_for(text: str) -> None:
    with pytest.raises(PolicyError, match=r"empty|one YAML document"):
        parse(text)


def test_an_oversize_policy_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(PolicyError, match="larger than 256 KiB"):
        parse("a: " + "x" * MAX_DOCUMENT_BYTES)


def test_an_alias_bomb_is_refused() -> None:
    bomb = "a: &a [x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9))
    with pytest.raises(PolicyError, match="aliases"):
        parse(bomb)


def test_the_line_of_a_path_falls_back_to_its_nearest_written_ancestor() -> None:
    document = parse("a:\n  b:\n    c: 1\n")
    assert document.line_of(("a", "b", "c")) == 3
    assert document.line_of(("a", "b", "missing")) == 2


@given(st.text(max_size=200))
def test_any_text_gives_a_document_or_a_policy_error(text: str) -> None:
    try:
        document = parse(text)
    except PolicyError:
        return
    assert isinstance(document.root, dict)


@pytest.mark.parametrize(
    ("plain", "value"),
    [("E0", "E0"), (".", "."), ("-e5", "-e5"), (".5", 0.5), ("1.", 1.0), ("-2.5e-3", -0.0025), ("007", "007"), ("12", 12)],
)
def test_a_number_has_digits_before_its_exponent(plain: str, value: object) -> None:
    assert parse(f"a: {plain}\n").root == {"a": value}
