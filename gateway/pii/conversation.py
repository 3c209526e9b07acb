"""A conversation's identity decides whose pseudonyms a request sees.

Chat completions are stateless, so the id comes from the header `X-LLMOS-Conversation`, or else from what stays the same over
the turns of one chat: the tenant, the key, the `user` field, the system message and the first user message, before scrubbing.
It does NOT keep apart two chats that begin with the same words under the same key and user: they share pseudonyms.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from gateway.exchange import ConversationScope, Principal


def framed(*parts: bytes) -> bytes:
    """An injective encoding of the parts: each is preceded by its length in 8 bytes."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def conversation_scope(
    principal: Principal,
    *,
    key: bytes,
    header: str | None,
    user: str | None,
    system_texts: Iterable[str],
    first_user_texts: Iterable[str],
) -> ConversationScope:
    """The scope of a request.

    `key` is a keyed-hash key of 32 bytes (KeyRing.index_key("conversation")). `header` wins where it is given; `system_texts` and
    `first_user_texts` are the text leaves of the system message and of the first user message.
    """
    if header is not None:
        source = [b"header", header.encode("utf-8")]
    else:
        system = framed(*(text.encode("utf-8") for text in system_texts))
        first = framed(*(text.encode("utf-8") for text in first_user_texts))
        source = [b"opening", (user or "").encode("utf-8"), system, first]
    message = framed(principal.tenant.encode("utf-8"), principal.key_id.encode("utf-8"), *source)
    digest = hmac.digest(key, b"llmos/conversation/" + message, hashlib.sha256)
    return ConversationScope(tenant=principal.tenant, key_id=principal.key_id, conversation_id=digest.hex()[:32])
