"""Replacing: the values of a request become pseudonyms, the same value the same one throughout a conversation.

It stands between detection and the request that goes upstream. The steps of one request:
  1. plan: each span gets its action; a `block` refuses the request;
  2. claim: the distinct values get candidates, drawn under the conversation's key, that do not occur in the request's own text;
     the vault settles them in one round trip;
  3. write: tokens are put in, right to left;
  4. check: the replaced texts are restored again with what was issued; where that is not the original, the values of that text
     get placeholders instead, which delimit themselves.
A value glued to letters, or without a known shape, gets a placeholder at once. Where the policy does not restore (a route under
differential privacy), step 4 is left out, and a surrogate that an earlier answer released stays what it is.
It does NOT find personal data: what detection misses goes upstream.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from gateway.errors import LlmosError, PolicyRefusal, StoreUnavailable
from gateway.exchange import ConversationScope, IssuedValue, Span
from gateway.pii import operators
from gateway.pii.keyring import KeyRing
from gateway.pii.restore import IssuedValues, fold, touches
from gateway.pii.stream_restore import restore
from gateway.pii.surrogates import PERSON_ENTITIES, generator_for
from gateway.pii.surrogates.base import plain_canonical
from gateway.pii.surrogates.draw import Draws
from gateway.pii.surrogates.foreign_words import holds_foreign_words
from gateway.pii.surrogates.names import NameWord, initial_letter, name_words, render_name, word_candidates
from gateway.pii.surrogates.network import EMAIL, local_parts
from gateway.pii.surrogates.tag import tag_candidates
from gateway.pii.vault import STAYS, Claim, Conversation, Record, Vault
from gateway.ports import Replaced
from policies.schema import Action, EntityRule, Policy

_FIRST_CANDIDATES = 2
_CLAIM_ROUNDS = 12
_CHECK_ROUNDS = 3
_DEFAULT_RULE = EntityRule()
_TAG_BODY = re.compile(r"_([^_>]+)>$")

_Need = tuple[str, str, Callable[[Draws], Iterator[str]]]


@dataclass(slots=True)
class _Want:
    """A value that needs a token of the vault: (namespace, canonical value), and how to draw candidates for it."""

    namespace: str
    canonical: str = field(repr=False)
    draw: Callable[[Draws], Iterator[str]] = field(repr=False)
    token: str | None = field(default=None, repr=False)
    offered: int = 0
    again: bool = False
    spent: bool = False  # every candidate is taken
    stays: bool = False  # the value is itself a token of this conversation, which an earlier answer released


@dataclass(slots=True)
class _Occurrence:
    """One span of one text, and what is written in its place."""

    start: int
    end: int
    entity: str
    action: Action
    value: str = field(repr=False)
    tag: int = 0  # 0: a surrogate; 1: a placeholder of the normalised value; 2: a placeholder of this very writing
    words: list[NameWord] | None = field(default=None, repr=False)
    token: str = field(default="", repr=False)
    needs: tuple[int, list[_Need]] | None = field(default=None, repr=False)  # what it needs of the vault, and the tag that this holds for


class ConversationPseudonyms:
    """Implements gateway.ports.Pseudonyms over a vault."""

    def __init__(self, vault: Vault, ring: KeyRing) -> None:
        self._vault = vault
        self._ring = ring

    async def replace(self, scope: ConversationScope, texts: Sequence[str], spans: Sequence[Sequence[Span]], policy: Policy) -> Replaced:
        """Raises PolicyRefusal for a `block` entity, StoreUnavailable where the vault can't be reached or does not verify."""
        plan = [[_occurrence(text, span, policy) for span in found] for text, found in zip(texts, spans, strict=True)]
        counts = Counter((one.entity, one.action.value) for row in plan for one in row)
        refused = sorted({one.entity for row in plan for one in row if one.action is Action.BLOCK})
        if refused:
            raise PolicyRefusal(f"the policy {policy.id!r} refuses requests that hold: {', '.join(refused)}")
        run = _Run(self._vault, self._ring, scope, texts, plan, policy)
        for _ in range(_CHECK_ROUNDS):
            await run.claim()
            written = run.write()
            if not policy.response.restore:
                return Replaced(texts=written, issued=run.issued(), counts=dict(counts))
            if run.check(written):
                return Replaced(texts=written, issued=run.checked, counts=dict(counts))
        raise LlmosError("no pseudonyms could be found that the answer can be restored from; nothing was sent upstream")


class _Run:
    """The state of one request while it is replaced."""

    def __init__(
        self, vault: Vault, ring: KeyRing, scope: ConversationScope, texts: Sequence[str], plan: list[list[_Occurrence]], policy: Policy
    ) -> None:
        self._vault = vault
        self._ring = ring
        self._scope = scope
        self._texts = texts
        self._plan = plan
        self._ttl_s = policy.retention.vault_ttl_s
        self._restores = policy.response.restore
        self._own_text = fold("\n".join(texts)) if self._restores else ""
        self._conversation = vault.begin(scope)
        self._wants: dict[tuple[str, str], _Want] = {}
        self.checked = IssuedValues()  # with which the last check was made
        self._names: dict[str, str] = {}  # folded Latin name words of this request with their surrogates, for e-mail addresses

    async def claim(self) -> None:
        """Settle every want that has no token. One round trip, but for collisions and conversations new to this process."""
        for _ in range(_CLAIM_ROUNDS):
            self._gather()
            open_wants = [want for want in self._wants.values() if want.token is None and not want.spent and not want.stays]
            if not open_wants:
                return
            open_wants = [want for want in open_wants if not self._waits_for_names(want)]
            claims = [self._claim_of(want) for want in open_wants]
            if any(want.spent for want in open_wants):
                continue  # without a shape, or used up: these values get placeholders, claimed with the rest
            answer = await self._vault.settle(self._scope, self._conversation, claims, self._ttl_s)
            if isinstance(answer, Conversation):
                self._conversation = answer
                for want in self._wants.values():
                    want.token, want.offered, want.again, want.spent, want.stays = None, 0, False, False, False
                continue
            for want, claim, sealed in zip(open_wants, claims, answer, strict=True):
                if sealed is not None:
                    self._take(want, claim, sealed)
                elif not claim.candidates:
                    self._conversation.known.discard(claim.field)  # the store's entry has expired since
        raise StoreUnavailable("the vault did not settle this request's pseudonyms in time; try again", retry_after_s=1.0)

    def write(self) -> tuple[str, ...]:
        """Each text with its tokens put in, right to left."""
        written = []
        for text, row in zip(self._texts, self._plan, strict=True):
            for one in sorted(row, key=lambda o: o.start, reverse=True):
                one.token = self._token(one)
                text = text[: one.start] + one.token + text[one.end :]
            written.append(text)
        return tuple(written)

    def check(self, written: Sequence[str]) -> bool:
        """Whether what was issued restores each text; else the values of a text where it does not become placeholders."""
        holds = True
        meanings: dict[str, str] = {}
        for row in self._plan:
            for one in row:
                if _reversible(one) and not one.tag and fold(one.value) in fold(one.token):
                    one.tag, holds = 1, False  # the surrogate shows the value
                elif _reversible(one) and meanings.setdefault(one.token, one.value) != one.value:
                    one.tag, holds = 2, False  # two writings of one value have come out the same
        if not holds:
            return False
        self.checked = IssuedValues(self.issued())
        lexicon = self.checked.lexicon
        for text, row, replaced in zip(self._texts, self._plan, written, strict=True):
            expected = text
            for one in sorted(row, key=lambda o: o.start, reverse=True):
                if not _reversible(one):
                    expected = expected[: one.start] + one.token + expected[one.end :]
            if restore(replaced, lexicon) != expected:
                holds = False
                for one in row:
                    one.tag = min(one.tag + 1, 2)
        return holds

    def issued(self) -> tuple[IssuedValue, ...]:
        """What stands in the written texts, each pair once."""
        seen: dict[tuple[str, str], IssuedValue] = {}
        for row in self._plan:
            for one in row:
                if _reversible(one) and one.token != one.value:
                    kind = "encrypt" if one.action is Action.ENCRYPT else "placeholder" if one.tag else "surrogate"
                    seen.setdefault((one.token, one.value), IssuedValue(one.token, one.value, one.entity, kind))  # type: ignore[arg-type]
        return tuple(seen.values())

    def _gather(self) -> None:
        """The wants of every span; full names first, since they tell a surname from a given name."""
        spans = [one for row in self._plan for one in row if one.action in (Action.SURROGATE, Action.PLACEHOLDER)]
        for one in spans:
            if not one.tag:
                self._find_shape(one)
        for one in sorted(spans, key=lambda o: -len(o.words or ())):
            for namespace, canonical, draw in self._needs(one):
                self._wants.setdefault((namespace, canonical), _Want(namespace, canonical, draw))

    def _find_shape(self, one: _Occurrence) -> None:
        """Give a value that has no surrogate, or none that is left, or one that would show a part of it, a placeholder."""
        if holds_foreign_words(one.entity, one.value):
            one.tag = 1
            return
        if one.entity in PERSON_ENTITIES:
            one.words = one.words or name_words(one.value)
            if one.words is None:
                one.tag = 1
                return
        if any(want.spent for want in map(self._wants.get, self._keys(one)) if want):
            one.tag = 1

    def _keys(self, one: _Occurrence) -> list[tuple[str, str]]:
        return [(namespace, canonical) for namespace, canonical, _ in self._needs(one)]

    def _needs(self, one: _Occurrence) -> list[_Need]:
        """The (namespace, canonical value, how to draw) of each vault token that a span needs; worked out once for each tag."""
        if one.needs is None or one.needs[0] != one.tag:
            one.needs = (one.tag, self._find_needs(one))
        return one.needs[1]

    def _find_needs(self, one: _Occurrence) -> list[_Need]:
        if one.tag:
            exact = one.tag > 1
            canonical = one.value if exact else plain_canonical(one.value)
            return [(f"{'exact-tag' if exact else 'tag'}:{one.entity}", canonical, partial(tag_candidates, one.entity))]
        if one.words is not None:
            return [("name", word.canonical, partial(word_candidates, word)) for word in one.words if not word.initial]
        family = generator_for(one.entity)
        draw = partial(EMAIL.candidates, names=self._names) if family is EMAIL else family.candidates
        return [(one.entity, family.canonical(one.value), partial(draw, one.value))]

    def _claim_of(self, want: _Want) -> Claim:
        """The next candidates that do not occur in the request's own text, sealed; none for a value whose record is known to stand."""
        conversation = self._conversation
        field_id = conversation.field_of(want.namespace, want.canonical)
        own = b"" if self._restores else conversation.token_hash(want.canonical)
        if field_id in conversation.known and not want.again:
            return Claim(field_id, (), own=own)
        draws = Draws(conversation.draw_key, field_id)
        usable = (token for token in want.draw(draws) if not self._clashes(token))
        count = _FIRST_CANDIDATES if not want.offered else 4 * want.offered
        tokens = list(islice(usable, want.offered, want.offered + count))
        want.offered += count
        want.spent = not tokens
        pairs = tuple(
            (conversation.token_hash(token), conversation.seal(field_id, Record(want.namespace, want.canonical, token))) for token in tokens
        )
        return Claim(field_id, pairs, again=want.again, own=own)

    def _take(self, want: _Want, claim: Claim, sealed: bytes) -> None:
        if sealed == STAYS:
            want.stays = True
            return
        record = self._conversation.open(claim.field, sealed)
        if (record.entity, record.value) != (want.namespace, want.canonical):
            raise StoreUnavailable("a vault record stands for another value; the store was altered")
        if self._clashes(record.token):
            want.again, want.offered = True, 0  # typed in since: give the value another token
        else:
            want.token = record.token
            self._conversation.known.add(claim.field)
            if want.namespace == "name" and want.canonical.isascii():
                self._names[want.canonical] = record.token

    def _waits_for_names(self, want: _Want) -> bool:
        """Whether a new e-mail address is made of names that have no surrogate yet: it is claimed after them."""
        if want.namespace != "EMAIL_ADDRESS" or want.offered:
            return False
        if self._conversation.field_of(want.namespace, want.canonical) in self._conversation.known:
            return False
        parts = {name for part in local_parts(want.canonical) for name in (part, part[1:])}
        return any(self._wants["name", part].token is None for part in parts if ("name", part) in self._wants)

    def _clashes(self, token: str) -> bool:
        """Whether a token occurs in the request's own text, where it could not be told from what the caller wrote."""
        own = self._own_text
        body = _TAG_BODY.search(token)
        folded = fold(body[1] if body else token)
        at = own.find(folded)
        while at >= 0:
            end = at + len(folded)
            if body or not ((at and touches(own[at - 1], folded[0])) or (end < len(own) and touches(folded[-1], own[end]))):
                return True
            at = own.find(folded, at + 1)
        return False

    def _token(self, one: _Occurrence) -> str:
        match one.action:
            case Action.ALLOW:
                return one.value
            case Action.MASK:
                return operators.mask(one.value)
            case Action.REDACT:
                return operators.redact(one.value)
            case Action.HASH:
                return operators.keyed_hash(one.value, one.entity, self._ring, self._scope.tenant)
            case Action.ENCRYPT:
                return operators.seal(one.value, one.entity, self._ring, self._scope.tenant, self._conversation.draw_key)
            case _:
                return self._vault_token(one)

    def _vault_token(self, one: _Occurrence) -> str:
        wants = [self._wants[key] for key in self._keys(one)]
        if all(want.stays for want in wants):
            return one.value
        if one.words is not None and not one.tag:
            draws, named = Draws(self._conversation.draw_key, b""), iter(wants)
            tokens = []
            for word in one.words:
                want = None if word.initial else next(named)
                tokens.append(initial_letter(word.text, draws) if want is None else word.text if want.stays else want.token or "")
            return render_name(one.value, one.words, tokens)
        token = wants[0].token or ""
        return token if one.tag else generator_for(one.entity).render(token, one.value)


def _occurrence(text: str, span: Span, policy: Policy) -> _Occurrence:
    action = policy.entities.get(span.entity, _DEFAULT_RULE).action
    value = text[span.start : span.end]
    glued = bool(value) and (
        (span.start > 0 and touches(text[span.start - 1], value[0])) or (span.end < len(text) and touches(value[-1], text[span.end]))
    )
    return _Occurrence(span.start, span.end, span.entity, action, value, tag=int(action is Action.PLACEHOLDER or glued))


def _reversible(one: _Occurrence) -> bool:
    return one.action in (Action.SURROGATE, Action.PLACEHOLDER, Action.ENCRYPT)
