"""The vault allocates the tokens of one conversation, encrypted at rest.

It stands between the replacing of spans and the store. For every distinct value it offers the store a few candidate tokens in
keyed order; the store takes the first free one, or answers with the one that already stands. All values of a request go in one
round trip. What the store sees:
  - one entry a conversation, under a keyed hash of tenant, key id and conversation;
  - the conversation's random key, wrapped by the key ring;
  - for each value, a keyed hash of it, its entity type, and an AES-256-GCM-SIV record (value, token), padded, with tenant, key id,
    conversation, entity and field as associated data; and a keyed hash of each token taken.
A record that does not verify is a StoreUnavailable: nothing goes upstream. It does NOT hide from the store how many values a
conversation holds, nor their lengths beyond the padding; and the append-only file keeps deleted ciphertext until it is rewritten.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from gateway.errors import StoreUnavailable
from gateway.exchange import ConversationScope
from gateway.pii.conversation import framed
from gateway.pii.keyring import KeyRing, KeyRingError

_PAD_TO = 32  # bytes: record lengths come in steps of this
_HASH_BYTES = 16
_CACHED_CONVERSATIONS = 4096
_CACHE_AGE_S = 600.0
_RECORD_VERSION = 1


@dataclass(frozen=True, slots=True)
class Claim:
    """A request to the store: the field of a value, and candidate (token hash, sealed record) pairs in order.

    `again` gives up the token that stands, since it collides with the request's text, and takes the first free candidate.
    `own` is the value's own hash as a token: where another value of the conversation has it as its token, the answer is STAYS.
    """

    field: bytes
    candidates: tuple[tuple[bytes, bytes], ...]
    again: bool = False
    own: bytes = b""


ERASED = b""  # the answer where a conversation was erased, or has expired: its key must not come back
STAYS = b""  # the answer to a claim whose value is itself a token of this conversation


@dataclass(frozen=True, slots=True)
class Settled:
    """The store's answer.

    `other_key` is the wrapped key that stands where it differs from the one presented, or ERASED where the presented one stood here
    before and does not any more; then nothing was done. `records` has the sealed record that stands for each claim, None where every
    candidate is taken by another value.
    """

    other_key: bytes | None
    records: tuple[bytes | None, ...] = ()


class VaultStore(Protocol):
    """The vault's side of the store. Every method is atomic and raises StoreUnavailable where the store can't be reached."""

    async def settle(self, conversation: str, wrapped_key: bytes, claims: Sequence[Claim], ttl_s: int, stood: bool) -> Settled:
        """`stood` says that the key is known to have stood in the store."""
        ...

    async def records(self, conversation: str) -> tuple[bytes | None, Mapping[bytes, bytes]]:
        """The wrapped key and the sealed record of each field."""
        ...

    async def rewrap(self, conversation: str, old_key: bytes, new_key: bytes) -> bool: ...

    async def delete(self, conversation: str) -> bool:
        """Whether there was such a conversation."""
        ...

    async def delete_all(self, beginning: str) -> int:
        """Delete every conversation whose entry begins so; how many there were."""
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """One opened vault record: the canonical token (see surrogates) of a normalised value."""

    entity: str
    value: str = field(repr=False)
    token: str = field(repr=False)


@dataclass(slots=True)
class Conversation:
    """The keys of one conversation, in memory only. `stood` is set once its key is known to stand in the store."""

    entry: str  # the store's name of it: a keyed hash
    wrapped_key: bytes = field(repr=False)
    draw_key: bytes = field(repr=False)  # surrogates are drawn under it
    field_key: bytes = field(repr=False)  # hashes of values
    token_key: bytes = field(repr=False)  # hashes of tokens
    cipher: AESGCMSIV = field(repr=False)
    associated: bytes = field(repr=False)
    known: set[bytes] = field(repr=False, default_factory=set)  # fields whose record this process has seen
    stood: bool = False

    def field_of(self, entity: str, value: str) -> bytes:
        return hmac.digest(self.field_key, framed(entity.encode(), value.encode("utf-8")), "sha256")[:_HASH_BYTES]

    def token_hash(self, token: str) -> bytes:
        return hmac.digest(self.token_key, token.casefold().encode("utf-8"), "sha256")[:_HASH_BYTES]

    def seal(self, field_id: bytes, record: Record) -> bytes:
        parts = (record.entity.encode(), record.value.encode("utf-8"), record.token.encode("utf-8"))
        plain = bytes([_RECORD_VERSION]) + framed(*parts)
        plain += b"\x80" + b"\x00" * (-(len(plain) + 1) % _PAD_TO)
        nonce = secrets.token_bytes(12)
        header = bytes([len(parts[0])]) + parts[0]
        return header + nonce + self.cipher.encrypt(nonce, plain, self.associated + framed(field_id, parts[0]))

    def open(self, field_id: bytes, sealed: bytes) -> Record:
        """Raises StoreUnavailable where the record does not verify under this scope and field."""
        entity, sealed = sealed[1 : 1 + sealed[0]], sealed[1 + sealed[0] :]
        try:
            plain = self.cipher.decrypt(sealed[:12], sealed[12:], self.associated + framed(field_id, entity))
        except (InvalidTag, ValueError) as error:
            raise StoreUnavailable("a vault record does not verify; it was altered or belongs to another scope") from error
        parts, rest = [], plain[1 : plain.rindex(b"\x80")]
        while rest:
            end = 8 + int.from_bytes(rest[:8], "big")
            parts.append(rest[8:end].decode("utf-8"))
            rest = rest[end:]
        return Record(*parts)


class Vault:
    """Allocates and reads the records of conversations. Holds conversation keys (never values) for ten minutes in memory."""

    def __init__(self, store: VaultStore, ring: KeyRing) -> None:
        self._store = store
        self._ring = ring
        self._entry_key = ring.index_key("vault-entry")
        self._keys: OrderedDict[str, tuple[float, Conversation]] = OrderedDict()

    def begin(self, scope: ConversationScope) -> Conversation:
        """The keys of this conversation as this process knows them, else fresh ones that the store may overrule."""
        entry = self._entry(scope)
        kept = self._keys.get(entry)
        if kept is not None and time.monotonic() - kept[0] < _CACHE_AGE_S:
            self._keys.move_to_end(entry)
            return kept[1]
        secret = secrets.token_bytes(32)
        wrapped = self._ring.wrap(secret, entry.encode(), purpose="conversation")
        return self._derive(scope, entry, wrapped, secret)

    async def settle(
        self, scope: ConversationScope, conversation: Conversation, claims: Sequence[Claim], ttl_s: int
    ) -> Conversation | tuple[bytes | None, ...]:
        """Settle the claims in one round trip, or give the conversation that stands in the store, for the caller to claim anew."""
        settled = await self._store.settle(conversation.entry, conversation.wrapped_key, claims, ttl_s, conversation.stood)
        if settled.other_key is None:
            self._keep(conversation)
            return settled.records
        if settled.other_key == ERASED:
            self._keys.pop(conversation.entry, None)
            return self.begin(scope)
        standing = self._unwrap(scope, conversation.entry, settled.other_key)
        if self._ring.key_id_of(settled.other_key) != self._ring.current_id:
            standing = await self._rewrap(scope, standing)
        self._keep(standing)
        return standing

    async def read(self, scope: ConversationScope) -> list[Record]:
        """Every record of a conversation, for a chain of responses. Raises StoreUnavailable where one does not verify."""
        entry = self._entry(scope)
        wrapped, sealed = await self._store.records(entry)
        if wrapped is None:
            return []
        conversation = self._unwrap(scope, entry, wrapped)
        return [conversation.open(name, value) for name, value in sealed.items()]

    async def forget(self, scope: ConversationScope) -> bool:
        """Delete a conversation and its key; whether there was one."""
        entry = self._entry(scope)
        self._keys.pop(entry, None)
        return await self._store.delete(entry)

    async def forget_tenant(self, tenant: str) -> int:
        """Delete every conversation of a tenant with its key; how many there were. Raises StoreUnavailable."""
        self._keys.clear()
        return await self._store.delete_all(self._tenant_entry(tenant))

    async def _rewrap(self, scope: ConversationScope, standing: Conversation) -> Conversation:
        secret = self._open_key(scope, standing.wrapped_key)
        wrapped = self._ring.wrap(secret, standing.entry.encode(), purpose="conversation")
        if await self._store.rewrap(standing.entry, standing.wrapped_key, wrapped):
            return self._derive(scope, standing.entry, wrapped, secret)
        return standing

    def _entry(self, scope: ConversationScope) -> str:
        """The tenant's part comes first, so that all of a tenant can be erased; both parts are keyed hashes."""
        return self._tenant_entry(scope.tenant) + hmac.digest(self._entry_key, self._associated(scope), hashlib.sha256).hex()[:40]

    def _tenant_entry(self, tenant: str) -> str:
        return hmac.digest(self._entry_key, b"tenant/" + tenant.encode("utf-8"), hashlib.sha256).hex()[:24]

    @staticmethod
    def _associated(scope: ConversationScope) -> bytes:
        return framed(scope.tenant.encode("utf-8"), scope.key_id.encode("utf-8"), scope.conversation_id.encode("utf-8"))

    def _open_key(self, scope: ConversationScope, wrapped: bytes) -> bytes:
        try:
            return self._ring.unwrap(wrapped, self._entry(scope).encode(), purpose="conversation")
        except KeyRingError as error:
            raise StoreUnavailable(f"the conversation's key can't be opened: {error}") from error

    def _unwrap(self, scope: ConversationScope, entry: str, wrapped: bytes) -> Conversation:
        return self._derive(scope, entry, wrapped, self._open_key(scope, wrapped))

    def _derive(self, scope: ConversationScope, entry: str, wrapped: bytes, secret: bytes) -> Conversation:
        subkeys = [hmac.digest(secret, b"llmos/conversation/" + purpose, "sha256") for purpose in (b"draw", b"field", b"token", b"seal")]
        return Conversation(entry, wrapped, subkeys[0], subkeys[1], subkeys[2], AESGCMSIV(subkeys[3]), self._associated(scope))

    def _keep(self, conversation: Conversation) -> None:
        conversation.stood = True
        self._keys[conversation.entry] = (time.monotonic(), conversation)
        self._keys.move_to_end(conversation.entry)
        while len(self._keys) > _CACHED_CONVERSATIONS:
            self._keys.popitem(last=False)
