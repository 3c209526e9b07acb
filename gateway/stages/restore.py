"""Stage 7: the caller's own values come back into the answer, and what else is personal in it is masked.

Known fields only (`gateway.fields.answers`). Restoring and masking are the work of `gateway.pii.answer_filter`; this stage knows which
texts there are. It restores nothing that did not stand in this very request, and under differential privacy nothing at all: there
neither the request nor its stand-ins are looked at, unless the policy gives up the claim (`dp.restore`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

from gateway.exchange import Answered, Json, Released
from gateway.fields.answers import read_answer, repeat_request
from gateway.fields.stream_choices import ChoiceStream
from gateway.fields.stream_responses import ResponseStream
from gateway.pii.answer_filter import AnswerFilter, AnswerRules
from gateway.ports import Detector
from policies.dp import StructuredRule


class Filters:
    """The filters of one answer, one a text, and what they counted."""

    def __init__(self, rules: AnswerRules) -> None:
        self._rules = rules
        self._opened: list[AnswerFilter] = []

    def open(self, json_text: bool) -> AnswerFilter:
        """A filter for one more text."""
        opened = AnswerFilter(self._rules, json_text=json_text)
        self._opened.append(opened)
        return opened

    def counts(self) -> Mapping[str, int]:
        """`restored`, `unresolved`, and `masked:ENTITY` for each type that was masked."""
        counted = [each.counts for each in self._opened]
        masked: Counter[str] = sum((each.masked for each in counted), Counter())
        return {
            "restored": sum(each.restored for each in counted),
            "unresolved": sum(each.unresolved for each in counted),
            **{f"masked:{entity}": number for entity, number in masked.items()},
        }


async def restore(answered: Answered, detector: Detector) -> tuple[Released, Filters]:
    """The released answer, and the filters whose counts are final when it is over.

    Raises UpstreamFailed for an answer that has not the form of its API, PolicyRefusal where the response rule blocks, DetectorFailed;
    for a stream, its events raise them.
    """
    scrubbed = answered.routed.scrubbed
    admitted = scrubbed.admitted
    received, model = admitted.received, admitted.served.name
    private = admitted.policy.dp is not None and not admitted.policy.dp.restore
    tenant = received.principal.tenant
    rules = AnswerRules(admitted.policy, scrubbed.issued, scrubbed.caller_texts, detector=detector, tenant=tenant, private_output=private)
    filters = Filters(rules)
    if admitted.policy.dp is not None and isinstance(admitted.policy.dp.mechanism, StructuredRule):
        # Each value comes from a domain that the policy names: nothing in it is the caller's, and a mask in a number would break the JSON.
        return Released(answered=answered, body=answered.body, events=_unchanged(answered.events)), filters
    if answered.events is not None:
        stream: ChoiceStream | ResponseStream
        if received.api == "responses":
            stream = ResponseStream(filters.open, request=received.body, model=model)
        else:
            asked = scrubbed.body.get("stream_options", {}).get("include_usage")
            stream = ChoiceStream(filters.open, chat=received.api == "chat.completions", model=model, show_usage=bool(asked))
        return Released(answered=answered, body=None, events=_events(answered.events, stream)), filters
    body, leaves = read_answer(received.api, answered.body or {})
    changed = False
    for leaf in leaves:
        text = leaf.container[leaf.key]
        leaf.container[leaf.key] = restored = await filters.open(leaf.json_text).whole(text)
        changed |= restored != text
    if changed:
        for choice in body.get("choices") or ():
            choice["logprobs"] = None  # they would show, piece by piece, what was masked
    body["model"] = model
    if received.api == "responses":
        repeat_request(body, received.body)
    return Released(answered=answered, body=body, events=None), filters


def _unchanged(events: AsyncIterator[Json] | None) -> AsyncGenerator[Json, None] | None:
    async def each(given: AsyncIterator[Json]) -> AsyncGenerator[Json, None]:
        async for event in given:
            yield event

    return None if events is None else each(events)


async def _events(events: AsyncIterator[Json], stream: ChoiceStream | ResponseStream) -> AsyncGenerator[Json, None]:
    try:
        async for event in events:
            for released in await stream.event(event):
                yield released
        for released in await stream.end():
            yield released
    finally:
        if hasattr(events, "aclose"):
            await events.aclose()
