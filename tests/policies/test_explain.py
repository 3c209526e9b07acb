"""The words for a policy, and the difference of two."""

from __future__ import annotations

from typing import Any

import pytest

from policies.diff import diff
from policies.explain import ACTION_WORDS, explain
from policies.load import load_pack, load_policy
from policies.schema import Action, Policy


def test_every_action_has_words() -> None:
    assert set(ACTION_WORDS) == set(Action)


def test_explain_says_each_rule() -> None:
    policy = load_policy(
        "id: x\nentities: {PERSON: {action: mask, score: 0.5}, SECRET: {action: block}}\n"
        "routing: {rules: [{entities: [PERSON], to: mpc}], default: refuse}\n"
        "limits: {requests_per_minute: 60, concurrent_streams: 2}\nretention: {vault_ttl_s: 3600}\n"
        "response: {restore: false, scan: ner, action: block}\naudit: {level: minimal}\non_failure: {answer_scan: patterns_only}\n"
        "recall_floor: {overall: 0.9}\n"
    )
    assert explain(policy) == [
        "PERSON (score ≥ 0.5): masked with asterisks, not restored.",
        "SECRET (score ≥ 0.4): a reason to refuse the request.",
        "Text is read as English and Chinese.",
        "Where the text holds PERSON, the request goes to secret-shared inference (MPC).",
        "Otherwise the request is refused.",
        "The answer keeps the stand-ins.",
        "The answer is scanned sentence by sentence; personal data that the caller did not send is a reason to stop the answer.",
        "Each key may use 60 requests a minute, 2 streams at once.",
        "The vault forgets a conversation 1 hour after its last use.",
        "The audit records no counts by entity.",
        "Where the scan of an answer fails, the answer goes on, scanned by pattern ALONE: names may pass.",
        "Where any other part fails (detection, vault, ledger, audit), the request is refused and nothing is sent.",
        "A production tenant needs this recall on its own labelled text first: overall 90%.",
    ]


def test_blind_use_is_said_and_its_absence_is_not() -> None:
    assert any("blindly" in sentence for sentence in explain(load_policy("id: x\nentities: {}\nblind: allow\n")))
    assert not any("blind" in sentence for sentence in explain(load_policy("id: x\nentities: {}\n")))


def test_diff_names_each_changed_field() -> None:
    before = load_pack("default")
    after = load_policy(
        "id: next\nextends: default\nentities: {PERSON: {action: mask}, AGE: null, WARD: {action: mask}}\n"
        "recognizers: [{name: w, entity: WARD, deny_list: [A1]}]\n"
    )
    changes = {change.path: (change.kind, change.before, change.after) for change in diff(before, after)}
    assert changes["entities.PERSON.action"] == ("changed", "surrogate", "mask")
    assert changes["entities.AGE.action"] == ("removed", "allow", None)
    assert changes["entities.WARD.action"] == ("added", None, "mask")
    assert changes["recognizers[w].deny_list"] == ("added", None, ["A1"])
    assert "entities.EMAIL_ADDRESS.action" not in changes
    assert diff(before, before) == []


LEAVES = {
    "a": {"type": "boolean", "x-dp": {"mechanism": "randomized_response", "epsilon": 1.5}},
    "b": {"type": "string", "x-dp": {"mechanism": "drop"}},
}
OBJECT: dict[str, Any] = {"kind": "structured", "json_schema": {"type": "object", "properties": LEAVES}}


@pytest.mark.parametrize(
    ("mechanism", "says"),
    [
        ({"kind": "token", "clip": 8, "temperature": 2, "max_tokens": 5}, "epsilon 8 at most"),
        ({"kind": "token", "selection": "argmax", "epsilon_per_token": 3, "max_tokens": 5}, "epsilon 3 at most"),
        (
            {"kind": "ensemble", "groups": 8, "clip": 8, "temperature": 1, "max_tokens": 5},
            "in 8 groups, at most 5 tokens, each at an epsilon of 2",
        ),
        (OBJECT, "1 noised values (epsilon 1.5)"),
        (OBJECT | {"answer_after_s": 4}, "It leaves 4 seconds after"),
    ],
)
def test_explain_says_the_mechanism_and_the_budget(mechanism: dict[str, Any], says: str) -> None:
    dp = {"mechanism": mechanism, "budget": {"epsilon": 50, "delta": 1e-6, "window": {"kind": "rolling", "seconds": 3600}}}
    text = " ".join(explain(Policy.model_validate({"id": "p", "dp": dp})))
    assert says in text
    assert "epsilon 50 and delta 1e-06 in any 1 hour, counted by basic" in text
    assert "keeps the stand-ins" in text
    assert "gives up the privacy claim" in " ".join(explain(Policy.model_validate({"id": "p", "dp": dp | {"restore": True}})))
