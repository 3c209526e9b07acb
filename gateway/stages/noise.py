"""Stage 6: the policy's differential-privacy mechanism, where one is declared for the answer.

`token` and `ensemble` were drawn where the logits are: this stage refuses what the plugin did not draw and rebuilds the answer from the
drawn text alone. `structured` is noised here, leaf by leaf. What was released is written into the tally, from which the ledger is
settled. It adds no noise to the request, and leaves an answer without a mechanism as it is.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace

import orjson

from gateway.dp import structured
from gateway.dp.answer import Envelope, text_of
from gateway.dp.loss import Tally, drawn_loss, structured_loss
from gateway.dp.upstream import check_answer, drawn_tokens
from gateway.errors import UpstreamFailed
from gateway.exchange import Answered, Json
from policies.dp import DpRule, StructuredRule


def noise(answered: Answered, tally: Tally) -> Answered:
    """The answer that may be released. Raises UpstreamFailed for one that was not drawn privately; a stream raises it on the way."""
    admitted = answered.routed.scrubbed.admitted
    rule, private, received = admitted.policy.dp, admitted.private, admitted.received
    if rule is None:
        return answered
    if private is None:
        raise UpstreamFailed("an answer under differential privacy was not admitted as such; nothing was released")
    envelope = Envelope(received.api == "chat.completions", admitted.served.name, int(received.received_unix_s))
    if isinstance(rule.mechanism, StructuredRule):
        text = orjson.dumps(structured.release(rule.mechanism, _structured_text(answered))).decode()
        tally.loss = structured_loss(rule.mechanism)
        return _at_once(answered, envelope, text, "stop")
    if private.vocabulary is None and answered.routed.target == "vllm":
        raise UpstreamFailed("the model server never proved that it draws privately; nothing was released")
    if answered.events is not None:
        tally.loss = None  # until the end is seen, the worst case
        events = _checked(answered.events, rule, private.vocabulary, private.max_tokens, tally, envelope)
        return replace(answered, events=events)
    body = answered.body or {}
    check_answer(private.vocabulary, body)
    text, reason = text_of(body)
    if reason is None:
        raise UpstreamFailed("The model server did not finish its answer; nothing was released.")
    tally.loss = drawn_loss(rule, drawn_tokens(body.get("usage"), reason, private.max_tokens))
    return _at_once(answered, envelope, text, reason)


def _at_once(answered: Answered, envelope: Envelope, text: str, reason: str) -> Answered:
    if answered.routed.scrubbed.admitted.received.stream:
        return replace(answered, body=None, events=envelope.as_events(text, reason))
    return replace(answered, body=envelope.whole(text, reason), events=None)


def _structured_text(answered: Answered) -> str | None:
    """What the model wrote, or None where it failed or was cut off: then every leaf is drawn from its default."""
    text, reason = text_of(answered.body or {})
    return text if reason == "stop" else None


async def _checked(
    events: AsyncIterator[Json], rule: DpRule, vocabulary: int | None, max_tokens: int, tally: Tally, envelope: Envelope
) -> AsyncGenerator[Json, None]:
    """The stream rebuilt event by event; each is checked before it goes on. The tally is exact once the server has counted."""
    first, ended = True, None
    try:
        async for event in events:
            check_answer(vocabulary, event)
            if event.get("choices"):
                text, reason = text_of(event)
                ended = ended or reason
                if first or text or reason:
                    yield envelope.chunk(text, reason, first=first)
                    first = False
            if ended and event.get("usage"):
                tally.loss = drawn_loss(rule, drawn_tokens(event["usage"], ended, max_tokens))
    finally:
        if hasattr(events, "aclose"):
            await events.aclose()
