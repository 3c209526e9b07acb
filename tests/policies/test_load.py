"""Packs load, and a bad policy is refused with its line and the nearest field."""

from __future__ import annotations

import time

import pytest

from policies.explain import explain
from policies.load import PolicyError, digest, load_pack, load_policy, pack_names, pack_text, to_yaml
from policies.patterns import compile_pattern
from policies.schema import Action


def test_the_packs_that_are_promised_load() -> None:
    assert set(pack_names()) == {"default", "strict", "healthcare", "finance", "legal", "gdpr", "pipl"}
    for name in pack_names():
        assert load_pack(name).id == name


@pytest.mark.parametrize("name", ["default", "strict", "healthcare", "finance", "legal", "gdpr", "pipl"])
def test_a_pack_says_what_it_does_not_cover(name: str) -> None:
    assert "not cover" in pack_text(name)


@pytest.mark.parametrize("name", ["default", "strict", "healthcare", "finance", "legal", "gdpr", "pipl"])
def test_a_policy_written_out_loads_to_the_same_policy(name: str) -> None:
    pack = load_pack(name)
    again = load_policy(to_yaml(pack))
    assert again.model_dump(exclude={"extends"}) == pack.model_dump(exclude={"extends"})


def test_no_pack_lets_a_secret_through() -> None:
    for name in pack_names():
        assert load_pack(name).entities["SECRET"].action in (Action.REDACT, Action.BLOCK)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("id: x\nentities:\n  PERSON:\n    acton: mask\n", 4, "did you mean 'action'"),
        ("id: x\nlimts: {}\n", 2, "did you mean 'limits'"),
        ("id: x\nentities:\n  EMAIL_ADRESS: {action: mask}\n", 3, "did you mean EMAIL_ADDRESS"),
        ("id: x\nentities:\n  PERSON: {action: hide}\n", 3, "must be 'surrogate', 'placeholder'"),
        ("id: x\nentities:\n  PERSON: {score: 1.5}\n", 3, "less than or equal to 1"),
        ("id: x\nresponse: {scan: on}\n", 2, "must be 'off', 'patterns' or 'ner'"),
        ("description: no id\n", None, "id: is missing"),
        ("id: Not An Id\n", 1, "must match"),
        ("id: x\nmatch:\n  models: ['*x']\n", 3, "only at the end"),
        ("id: x\nrouting:\n  rules:\n    - {entities: [PERSN], to: mpc}\n", 4, "did you mean PERSON"),
        ("id: x\nrecall_floor:\n  entities: {PERSN: 0.9}\n", 3, "did you mean PERSON"),
        ("id: x\nschema_version: 2\n", 2, "must be 1"),
    ],
)
def test_a_fault_is_named_with_its_line(text: str, line: int | None, says: str) -> None:
    with pytest.raises(PolicyError, match=says) as caught:
        load_policy(text)
    assert caught.value.line == line


def test_an_entity_of_its_own_recognizer_is_known() -> None:
    text = "id: x\nentities: {WARD: {action: mask}}\nrecognizers:\n  - {name: w, entity: WARD, patterns: [{regex: 'W[0-9]+'}]}\n"
    assert load_policy(text).entities["WARD"].action is Action.MASK


@pytest.mark.parametrize("regex", ["(?=x)y", r"(a)\1", "[", "a*", "((a{100}){100}){100}", "x{1001}"])
def test_a_bad_pattern_is_refused_when_the_policy_is_loaded(regex: str) -> None:
    text = f"id: x\nrecognizers:\n  - {{name: w, entity: WARD, patterns: [{{regex: '{regex}'}}]}}\n"
    with pytest.raises(PolicyError, match=r"line 3: recognizers\.0\.patterns\.0\.regex"):
        load_policy(text)


def test_a_pattern_that_backtracks_elsewhere_runs_in_linear_time() -> None:
    bomb, text = compile_pattern("(a+)+b"), "a" * 100_000
    start = time.perf_counter()
    assert bomb.search(text) is None
    assert time.perf_counter() - start < 1.0  # a backtracking engine would need 2**100000 steps


def test_a_recognizer_that_finds_nothing_is_refused() -> None:
    with pytest.raises(PolicyError, match="would find nothing"):
        load_policy("id: x\nrecognizers:\n  - {name: w, entity: WARD}\n")


def test_an_unknown_pack_is_refused_with_the_nearest() -> None:
    with pytest.raises(PolicyError, match="did you mean 'healthcare'"):
        load_pack("helthcare")


def test_the_digest_is_of_what_a_policy_says_and_not_of_its_spelling() -> None:
    one = load_policy("id: x\nlanguages: [en]\nentities: {PERSON: {action: mask}}\n")
    two = load_policy("entities:\n  PERSON:\n    action: mask\nlanguages:\n- en\nid: x\n")
    assert digest(one) == digest(two) != digest(load_policy("id: x\nentities: {}\nlanguages: [zh]\n"))


@pytest.mark.parametrize(
    "source", ["id: x\n", "id: x\nmatch: {models: [m]}\nentities: null\n", "id: x\nextends: default\nentities: null\n"]
)
def test_a_policy_that_says_nothing_of_entities_is_refused(source: str) -> None:
    with pytest.raises(PolicyError, match="entities: is missing"):
        load_policy(source)


def test_a_policy_may_say_that_nothing_is_detected_and_is_explained_so() -> None:
    policy = load_policy("id: x\nentities: {}\n")
    assert policy.entities == {}
    assert load_policy(to_yaml(policy)) == policy
    assert any("nothing is detected" in sentence for sentence in explain(policy))
