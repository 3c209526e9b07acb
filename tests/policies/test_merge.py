"""The merge rule of `extends`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.merge import MAX_CHAIN, flatten, overlay
from policies.strict_yaml import Document, PolicyError, parse

LEAF = st.one_of(st.booleans(), st.integers(), st.text(max_size=4), st.lists(st.integers(), max_size=3))
NAME = st.text(max_size=3)
# As the schema has it, a name stands for a mapping always, or never: here it begins with "m", or with "s".
SCALARS = st.dictionaries(NAME.map("s".__add__), LEAF, max_size=3)
TREE = st.recursive(
    SCALARS,
    lambda inner: st.builds(dict.__or__, SCALARS, st.dictionaries(NAME.map("m".__add__), inner, max_size=3)),
    max_leaves=12,
)


def flat(text: str, **others: str) -> dict[str, object]:
    def lookup(name: str) -> Document | None:
        return parse(others[name]) if name in others else None

    return dict(flatten(parse(text), lookup))


def test_mappings_merge_lists_and_scalars_replace_null_takes_away() -> None:
    base = "id: b\nentities: {A: {action: mask, score: 0.1}, B: {action: allow}}\nlanguages: [en, zh]\nresponse: {scan: ner}\n"
    over = "id: c\nextends: b\nentities: {A: {score: 0.9}, B: null}\nlanguages: [zh]\n"
    assert flat(over, b=base) == {
        "id": "c",
        "extends": "b",
        "entities": {"A": {"action": "mask", "score": 0.9}},
        "languages": ["zh"],
        "response": {"scan": "ner"},
    }


def test_what_names_a_policy_is_never_inherited() -> None:
    base = "id: b\ndescription: base\nmatch: {tenants: [acme]}\nlanguages: [en]\n"
    assert flat("id: c\nextends: b\n", b=base) == {"id": "c", "extends": "b", "languages": ["en"]}


def test_a_chain_merges_from_its_far_end() -> None:
    a, b = "id: a\nlimits: {x: 1, y: 1, z: 1}\n", "id: b\nextends: a\nlimits: {y: 2, z: 2}\n"
    assert flat("id: c\nextends: b\nlimits: {z: 3}\n", a=a, b=b)["limits"] == {"x": 1, "y": 2, "z": 3}


@pytest.mark.parametrize(
    ("text", "others", "says"),
    [
        ("id: a\nextends: a\n", {"a": "id: a\n"}, "circle: a → a"),
        ("id: a\nextends: b\n", {"b": "id: b\nextends: c\n", "c": "id: c\nextends: a\n"}, "circle: a → b → c → a"),
        ("id: a\nextends: nowhere\n", {}, "neither a pack nor"),
        ("id: a\nextends: [b]\n", {}, "name of one pack"),
    ],
)
def test_a_bad_base_is_refused_by_name(text: str, others: dict[str, str], says: str) -> None:
    with pytest.raises(PolicyError, match=says) as caught:
        flat(text, **others)
    assert caught.value.line == 2


def test_a_long_chain_is_refused() -> None:
    others = {f"p{i}": f"id: p{i}\nextends: p{i + 1}\n" for i in range(MAX_CHAIN + 2)}
    with pytest.raises(PolicyError, match="deep"):
        flat("id: top\nextends: p0\n", **others)


@given(TREE)
def test_nothing_laid_on_a_tree_changes_nothing(tree: dict[str, object]) -> None:
    assert overlay(tree, {}) == tree  # type: ignore[arg-type]
    assert overlay(tree, tree) == tree  # type: ignore[arg-type]


@given(TREE, TREE, TREE)
def test_laying_on_is_associative(a: dict[str, object], b: dict[str, object], c: dict[str, object]) -> None:
    assert overlay(overlay(a, b), c) == overlay(a, overlay(b, c))  # type: ignore[arg-type]
