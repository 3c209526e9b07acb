"""Stage 3: every text leaf of the request loses its personal data before anything goes further.

Known fields only (`gateway.fields`), every text leaf detected and replaced, the whole written into a new body. Only this module makes a
`Scrubbed`. It protects as well as detection finds: a value that no recognizer knows goes through. It does not look inside encodings
other than JSON's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.dp.admission import take_records
from gateway.dp.records import without_personal_data
from gateway.errors import DetectorFailed, UnsupportedContent
from gateway.exchange import Admitted, ConversationScope, Scrubbed
from gateway.fields.read import read_request
from gateway.pii.conversation import conversation_scope
from gateway.ports import Detector, Pseudonyms


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits on one request's shape."""

    max_depth: int
    max_items: int


async def scrub(admitted: Admitted, detector: Detector, pseudonyms: Pseudonyms, conversation_key: bytes, bounds: Bounds) -> Scrubbed:
    """Raises BadRequest and its kin for fields, DetectorFailed, StoreUnavailable, and PolicyRefusal for a blocked entity."""
    received, policy = admitted.received, admitted.policy
    rest, records = take_records(policy.dp, received.body)
    body, leaves = read_request(
        received.api,
        rest,
        max_depth=bounds.max_depth,
        max_items=bounds.max_items,
        allowed_fields=frozenset(policy.allowed_fields),
    )
    scope = _scope(admitted, conversation_key)
    texts = leaves.detection_texts()
    spans = await detector.detect(texts, policy, tenant=admitted.received.principal.tenant)
    if len(spans) != len(texts):
        raise DetectorFailed("Detection did not answer for every text; nothing was sent to the model.")
    replaced = await pseudonyms.replace(scope, leaves.texts, leaves.without_context(spans), policy)
    leaves.fill(replaced.texts)
    if replaced.issued and wants_logprobs(body):
        raise UnsupportedContent(
            "`logprobs` would show the stand-ins that went to the model in place of personal data, in pieces that can't be restored. "
            f"This request had {len(replaced.issued)} values replaced; send it without logprobs.",
            param="logprobs",
        )
    return Scrubbed(
        admitted=admitted,
        scope=scope,
        body=body,
        caller_texts=tuple(leaves.texts),
        issued=replaced.issued,
        counts=replaced.counts,
        private_records=await _scrubbed_records(records, admitted, detector),
    )


async def _scrubbed_records(records: Sequence[str], admitted: Admitted, detector: Detector) -> tuple[str, ...]:
    """Each record by itself: detection and replacement of one never look at another."""
    found = []
    for record in records:
        spans = await detector.detect([record], admitted.policy, tenant=admitted.received.principal.tenant)
        if len(spans) != 1:
            raise DetectorFailed("Detection did not answer for every private record; nothing was sent to the model.")
        found.append(without_personal_data(record, spans[0], admitted.policy))
    return tuple(found)


def wants_logprobs(body: Mapping[str, Any]) -> bool:
    """Whether the answer would carry logprobs (for /v1/completions 0 asks for those of the drawn tokens)."""
    asked = body.get("logprobs")
    return (asked is not None and asked is not False) or bool(body.get("top_logprobs"))


def _scope(admitted: Admitted, key: bytes) -> ConversationScope:
    received = admitted.received
    body = received.body
    user = body.get("user")
    messages = body.get("messages") or body.get("input") or body.get("prompt")
    system = [*_texts(body.get("instructions"))]
    first_user: list[str] = []
    if isinstance(messages, list) and messages and isinstance(messages[0], dict):
        for message in messages:
            if message.get("role") in ("system", "developer"):
                system.extend(_texts(message.get("content")))
            elif message.get("role") == "user":
                first_user.extend(_texts(message.get("content")))
                break
    else:
        first_user.extend(_texts(messages))
    return conversation_scope(
        received.principal,
        key=key,
        header=received.conversation_header,
        user=user if isinstance(user, str) else None,
        system_texts=system,
        first_user_texts=first_user,
    )


def _texts(content: Any) -> Iterable[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            text = part.get("text") if isinstance(part, dict) else part
            if isinstance(text, str):
                yield text
