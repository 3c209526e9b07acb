"""Replacing over a real vault: identity, consistency, distinctness, what goes upstream."""

from __future__ import annotations

import itertools
import json
import re
import secrets

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import PolicyRefusal
from gateway.exchange import ConversationScope, Span
from gateway.pii.restore import Lexicon
from gateway.pii.stream_restore import StreamRestorer, restore
from gateway.ports import Replaced
from policies.schema import Action, EntityRule, Policy, ResponseRule

SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
POLICY = Policy(id="test")
ENTITIES = [
    "PERSON",
    "EMAIL_ADDRESS",
    "PHONE_NUMBER",
    "CREDIT_CARD",
    "US_SSN",
    "AGE",
    "DATE_TIME",
    "STREET_ADDRESS",
    "GPE",
    "ORGANIZATION",
    "ZIP_CODE",
    "IP_ADDRESS",
    "MAC_ADDRESS",
    "URL",
    "SECRET",
    "IBAN_CODE",
    "CN_RESIDENT_ID",
    "CN_MOBILE",
    "CN_USCC",
    "CN_LICENSE_PLATE",
    "MEDICAL_RECORD",
    "NRP",
]
VALUES = {
    "PERSON": ["Sarah Connor", "Dr. Connor", "JOHN SMITH", "john smith", "John Smith", "O'Neill", "Ludwig van Beethoven", "J. R. Smith",
               "王伟", "欧阳娜娜", "张医生"],
    "EMAIL_ADDRESS": ["sarah.connor@acme.com", "j_smith+x@mail.co.uk"],
    "PHONE_NUMBER": ["+1 (415) 867-5309", "020 7946 1234", "+49 30 1234567", "13812345678", "415-867-5309"],
    "CREDIT_CARD": ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005"],
    "US_SSN": ["078-05-1120", "219099999"],
    "AGE": ["45", "45 years old", "7", "93"],
    "DATE_TIME": ["March 3, 2021", "2021-03-14", "3/14/2021", "14.03.1999", "2021年3月14日", "Monday", "1990", "10:30", "yesterday"],
    "STREET_ADDRESS": ["12 Oak Street, Springfield, IL 62704", "北京市海淀区中关村大街27号"],
    "GPE": ["Paris", "New York City", "上海市"],
    "ORGANIZATION": ["Acme Bank Ltd", "Initech", "云南白药集团股份有限公司"],
    "ZIP_CODE": ["62704", "62704-1234", "SW1A 1AA", "K1A 0B1"],
    "IP_ADDRESS": ["10.1.2.3", "2a00:1450:4001::1"],
    "MAC_ADDRESS": ["00:1A:2B:3C:4D:5E"],
    "URL": ["https://user:pw@acme.com:8443/a/b?c=1", "acme.com"],
    "SECRET": ["sk-abcdefABCDEF0123456789", "hunter2!"],
    "IBAN_CODE": ["GB82 WEST 1234 5698 7654 32", "DE89370400440532013000"],
    "CN_RESIDENT_ID": ["11010519491231002X"],
    "CN_MOBILE": ["138 1234 5678"],
    "CN_USCC": ["91350100M000100Y43"],
    "CN_LICENSE_PLATE": ["京A12345"],
    "MEDICAL_RECORD": ["MRN-1234567"],
    "NRP": ["Catholic"],
}  # fmt: skip


def scope(tenant: str = "t", key: str = "k") -> ConversationScope:
    return ConversationScope(tenant, key, secrets.token_hex(8))


def whole(value: str, entity: str, before: str = "", after: str = "") -> tuple[str, list[Span]]:
    return f"{before}{value}{after}", [Span(len(before), len(before) + len(value), entity, 0.9)]


@st.composite
def text_with_spans(draw: st.DrawFn) -> tuple[str, list[Span]]:
    """Any text with any spans: known values, token-shaped text, unicode; spans also across words and side by side."""
    plain = st.one_of(
        st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=12),
        st.sampled_from([" ", ", ", "<", ">", "\\", "<PERSON_k7dm>", "Adrian Talbot", "adrian", "\u0301", "🧑‍⚕️", "555-0100", "'s ", "47"]),
    )
    values = st.one_of(
        st.sampled_from([(entity, value) for entity, several in VALUES.items() for value in several]),
        st.tuples(st.sampled_from(ENTITIES), st.text(alphabet=st.characters(exclude_categories=("Cs",)), min_size=1, max_size=10)),
    )
    text, spans = "", []
    for _ in range(draw(st.integers(0, 5))):
        text += draw(plain)
        entity, value = draw(values)
        spans.append(Span(len(text), len(text) + len(value), entity, 0.9))
        text += value
    return text + draw(plain), spans


@SETTINGS
@given(request_texts=st.lists(text_with_spans(), min_size=1, max_size=3), cuts=st.randoms(use_true_random=False))
def test_restoring_what_was_replaced_gives_the_original(vault_bench, request_texts, cuts):
    texts = [text for text, _ in request_texts]
    replaced = vault_bench.run(vault_bench.pseudonyms().replace(scope(), texts, [spans for _, spans in request_texts], POLICY))
    lexicon = Lexicon(replaced.issued)
    for original, sent in zip(texts, replaced.texts, strict=True):
        assert restore(sent, lexicon) == original
        by_character = StreamRestorer(lexicon)
        assert "".join(p.text for ch in sent for p in by_character.feed(ch)) + "".join(p.text for p in by_character.finish()) == original
        cut, at, out = StreamRestorer(lexicon), 0, ""
        while at < len(sent):
            size = cuts.randint(1, 9)
            out += "".join(p.text for p in cut.feed(sent[at : at + size]))
            at += size
        assert out + "".join(p.text for p in cut.finish()) == original


@SETTINGS
@given(request_texts=st.lists(text_with_spans(), min_size=2, max_size=4))
def test_one_value_has_one_token_and_two_values_never_share_one(vault_bench, request_texts):
    pseudonyms, conversation = vault_bench.pseudonyms(), scope()
    meaning: dict[str, str] = {}
    seen: list[Replaced] = []
    for turn in range(1, len(request_texts) + 1):
        texts, spans = [t for t, _ in request_texts[:turn]], [s for _, s in request_texts[:turn]]
        seen.append(vault_bench.run(pseudonyms.replace(conversation, texts, spans, POLICY)))
        for one in seen[-1].issued:
            assert meaning.setdefault(one.token, one.value) == one.value
    again = vault_bench.run(vault_bench.pseudonyms().replace(conversation, texts, spans, POLICY))
    assert again.texts == seen[-1].texts, "a new process and a repeated turn give the same text (prefix cache)"


@pytest.mark.parametrize(("entity", "value"), [(entity, value) for entity, several in VALUES.items() for value in several])
def test_the_value_does_not_go_upstream(vault_bench, entity, value):
    text, spans = whole(value, entity, "It is ", ".")
    replaced = vault_bench.run(vault_bench.pseudonyms().replace(scope(), [text], [spans], POLICY))
    assert value.casefold() not in replaced.texts[0].casefold()
    assert len(replaced.issued) == 1


def test_turns_keep_their_text_as_the_history_grows(vault_bench):
    pseudonyms, conversation = vault_bench.pseudonyms(), scope()
    turns = [
        whole("Sarah Connor", "PERSON", "I am "),
        whole("sarah@acme.com", "EMAIL_ADDRESS", "Mail "),
        whole("Dr. Connor", "PERSON", "Ask "),
    ]
    sent = []
    for count in range(1, 4):
        rows = turns[:count]
        sent.append(vault_bench.run(pseudonyms.replace(conversation, [t for t, _ in rows], [s for _, s in rows], POLICY)).texts)
    assert sent[1][:1] == sent[0]
    assert sent[2][:2] == sent[1]
    surname = sent[0][0].split()[-1]
    assert sent[2][2] == f"Ask Dr. {surname}", "the surname agrees with the full name"


def test_the_values_of_a_small_domain_stay_distinct(vault_bench):
    """Every age from 18 to 89: the domain is as large as the set of values, so that the last ones find it used up."""
    rows = [whole(str(age), "AGE", "aged ") for age in range(18, 90)]
    replaced = vault_bench.run(vault_bench.pseudonyms().replace(scope(), [t for t, _ in rows], [s for _, s in rows], POLICY))
    assert len({one.token for one in replaced.issued}) == 72
    assert all(restore(sent, Lexicon(replaced.issued)) == text for sent, (text, _) in zip(replaced.texts, rows, strict=True))


def test_a_token_that_the_caller_types_later_is_given_up(vault_bench):
    pseudonyms, conversation = vault_bench.pseudonyms(), scope()
    text, spans = whole("Sarah Connor", "PERSON", "I am ")
    first = vault_bench.run(pseudonyms.replace(conversation, [text], [spans], POLICY))
    typed = f"Who is {first.issued[0].token}?"
    second = vault_bench.run(pseudonyms.replace(conversation, [text, typed], [spans, []], POLICY))
    assert second.issued[0].token != first.issued[0].token
    assert restore(second.texts[1], Lexicon(second.issued)) == typed


def test_a_typed_token_of_another_conversation_is_not_restored(vault_bench):
    pseudonyms = vault_bench.pseudonyms()
    text, spans = whole("Sarah Connor", "PERSON", "I am ")
    theirs = vault_bench.run(pseudonyms.replace(scope(), [text], [spans], POLICY))
    mine = vault_bench.run(pseudonyms.replace(scope(), [f"Who is {theirs.issued[0].token}?"], [[]], POLICY))
    assert mine.issued == ()


def test_every_action(vault_bench):
    actions = {"A_" + action.value.upper(): EntityRule(action=action) for action in Action if action is not Action.BLOCK}
    policy = Policy(id="actions", entities=actions)
    texts, spans = zip(*(whole("ID-4711-ab", entity, "x ", " y") for entity in actions), strict=True)
    replaced = vault_bench.run(vault_bench.pseudonyms().replace(scope(), texts, spans, policy))
    sent = dict(zip(actions, (text[2:-2] for text in replaced.texts), strict=True))
    assert sent["A_ALLOW"] == "ID-4711-ab"
    assert sent["A_MASK"] == "**********"
    assert sent["A_REDACT"] == ""
    assert sent["A_HASH"].startswith("<A_HASH#")
    assert sent["A_ENCRYPT"].startswith("<A_ENCRYPT:")
    assert re.fullmatch(r"<A_PLACEHOLDER_[bcdfghjkmnpqrstvwxz2-9]{4}>", sent["A_PLACEHOLDER"])
    assert {one.kind for one in replaced.issued} == {"surrogate", "placeholder", "encrypt"}
    assert replaced.counts == {(entity, entity[2:].lower()): 1 for entity in actions}


def test_block_refuses_and_names_only_the_entity(vault_bench):
    policy = Policy(id="no-cards", entities={"CREDIT_CARD": EntityRule(action=Action.BLOCK)})
    text, spans = whole("4111 1111 1111 1111", "CREDIT_CARD")
    with pytest.raises(PolicyRefusal, match="CREDIT_CARD") as refusal:
        vault_bench.run(vault_bench.pseudonyms().replace(scope(), [text], [spans], policy))
    assert "4111" not in str(refusal.value)


def test_surrogates_that_a_route_released_stay_when_they_come_back(vault_bench):
    policy = Policy(id="released", response=ResponseRule(restore=False))
    pseudonyms, conversation = vault_bench.pseudonyms(), scope()
    text, spans = whole("Sarah Connor", "PERSON", "I am ")
    first = vault_bench.run(pseudonyms.replace(conversation, [text], [spans], policy))
    answer, found = whole(first.issued[0].token, "PERSON", "Hello ")
    second = vault_bench.run(pseudonyms.replace(conversation, [text, answer], [spans, found], policy))
    assert second.texts == (first.texts[0], answer)


def test_nothing_shows_in_a_repr(vault_bench):
    text, spans = whole("Sarah Connor", "PERSON", "I am ")
    replaced = vault_bench.run(vault_bench.pseudonyms().replace(scope(), [text], [spans], POLICY))
    assert "Connor" not in repr(replaced) + repr(replaced.issued)
    assert json.dumps([list(key) for key in itertools.islice(replaced.counts, 3)]) == '[["PERSON", "surrogate"]]'
