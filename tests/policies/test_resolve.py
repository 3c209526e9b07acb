"""Which policy serves: the most specific one, and never one of two that tie."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.resolve import Subject, choose, rival, specificity
from policies.schema import Match, Policy

SUBJECT = Subject(tenant="acme", key_id="k1", model="smollm2@r7", path="/v1/chat/completions")


def policy(name: str, **match: tuple[str, ...]) -> Policy:
    return Policy(id=name, match=Match(**match))


@pytest.mark.parametrize(
    ("loser", "winner"),
    [
        ({}, {"paths": ("/v1/*",)}),
        ({"paths": ("/v1/chat/completions",)}, {"models": ("*",)}),
        ({"models": ("smollm2*",)}, {"models": ("smollm2@*",)}),
        ({"models": ("smollm2@r7*",)}, {"models": ("smollm2@r7",)}),
        ({"models": ("smollm2@r7",), "paths": ("/v1/*",)}, {"tenants": ("acme",)}),
        ({"tenants": ("acme",), "models": ("smollm2@r7",)}, {"keys": ("k1",)}),
        ({"keys": ("k1",)}, {"keys": ("k1",), "tenants": ("acme",)}),
    ],
)
def test_the_more_specific_one_serves(loser: dict[str, tuple[str, ...]], winner: dict[str, tuple[str, ...]]) -> None:
    policies = [policy("a-loser", **loser), policy("b-winner", **winner)]
    chosen = choose(policies, SUBJECT)
    assert chosen is not None
    assert chosen.id == "b-winner"
    assert choose(policies[::-1], SUBJECT) is chosen


def test_every_list_that_is_not_empty_must_match() -> None:
    assert choose([policy("a", tenants=("acme",), models=("other",))], SUBJECT) is None
    assert choose([], SUBJECT) is None


def test_a_key_may_narrow_the_policies_that_can_serve_it() -> None:
    policies = [policy("wide"), policy("narrow", tenants=("acme",))]
    subject = Subject("acme", "k1", "m", "/", allowed_policies=("wide",))
    chosen = choose(policies, subject)
    assert chosen is not None
    assert chosen.id == "wide"


NAMES = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=2, unique=True).map(tuple)
PATTERNS = st.lists(st.sampled_from(["a", "ab", "a*", "ab*", "*"]), max_size=2, unique=True).map(tuple)
MATCHES = st.builds(Match, keys=NAMES, tenants=NAMES, models=PATTERNS, paths=PATTERNS)
SUBJECTS = st.builds(Subject, *[st.sampled_from(["a", "ab", "b", "abc"])] * 4)


@given(MATCHES, MATCHES, SUBJECTS)
def test_without_a_rival_no_request_sees_a_tie(one: Match, two: Match, subject: Subject) -> None:
    first, second = Policy(id="one", match=one), Policy(id="two", match=two)
    ranks = specificity(one, subject), specificity(two, subject)
    if rival(first, [second]) is None and None not in ranks:
        assert ranks[0] != ranks[1]
