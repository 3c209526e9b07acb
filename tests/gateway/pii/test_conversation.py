"""The conversation's id: what it depends on, what it does not."""

from __future__ import annotations

from gateway.exchange import ConversationScope, Principal
from gateway.pii.conversation import conversation_scope


def scope_of(**changes: object) -> ConversationScope:
    principal = Principal(str(changes.pop("tenant", "t")), str(changes.pop("key_id", "k")))
    given = {"key": b"k" * 32, "header": None, "user": None, "system_texts": ["be kind"], "first_user_texts": ["hello"]} | changes
    return conversation_scope(principal, **given)  # type: ignore[arg-type]


def test_the_same_opening_is_the_same_conversation():
    assert scope_of() == scope_of()
    assert scope_of(header="a", first_user_texts=["x"]) == scope_of(header="a", first_user_texts=["y"])


def test_everything_that_identifies_changes_it():
    variants = [
        scope_of(), scope_of(tenant="u"), scope_of(key_id="l"), scope_of(user="u"),
        scope_of(system_texts=["be"]), scope_of(first_user_texts=["x"]),
        scope_of(header="a"), scope_of(header="b"), scope_of(key=b"l" * 32),
        scope_of(system_texts=[], first_user_texts=["be kind", "hello"]),
    ]  # fmt: skip
    assert len(set(variants)) == len(variants)


def test_nothing_of_the_text_shows():
    assert "hello" not in repr(scope_of())
    assert len(scope_of().conversation_id) == 32
