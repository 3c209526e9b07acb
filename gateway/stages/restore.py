"""Stage 7: the caller's own values come back into the answer, and what else is personal in it is masked.

Known fields only (`gateway.fields.answers`). Restoring and masking are the work of `gateway.pii.answer_filter`; this stage knows which
texts there are. It restores nothing that did not stand in this very request.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable

from gateway.exchange import Answered, AnswerText, Json, Released
from gateway.fields.answers import AnswerLeaf, read_answer, repeat_request
from gateway.fields.stream_choices import ChoiceStream
from gateway.fields.stream_responses import ResponseStream
from gateway.ports import AnswerTexts

OpenText = Callable[[int], AnswerText]


async def restore(answered: Answered, texts: AnswerTexts) -> Released:
    """Raises UpstreamFailed for an answer that has not the form of its API; later, from the events, whatever breaks the stream."""
    scrubbed = answered.routed.scrubbed
    received = scrubbed.admitted.received

    def open_text(json_depth: int) -> AnswerText:
        return texts.open(scrubbed, json_depth)

    if answered.events is not None:
        stream = (
            ResponseStream(open_text, request=received.body, model=scrubbed.admitted.served.name)
            if received.api == "responses"
            else ChoiceStream(open_text, chat=received.api == "chat.completions", model=scrubbed.admitted.served.name)
        )
        return Released(answered=answered, body=None, events=_events(answered.events, stream))
    body, leaves = read_answer(received.api, answered.body or {})
    changed = await _restore(leaves, open_text)
    for choice in body.get("choices") or ():
        if changed:  # logprobs would show, piece by piece, what was masked
            choice["logprobs"] = None
    body["model"] = scrubbed.admitted.served.name
    if received.api == "responses":
        repeat_request(body, received.body)
    return Released(answered=answered, body=body, events=None)


async def _restore(leaves: list[AnswerLeaf], open_text: OpenText) -> bool:
    changed = False
    for leaf in leaves:
        text = leaf.container[leaf.key]
        restored = await open_text(leaf.json_depth).whole(text)
        changed |= restored != text
        leaf.container[leaf.key] = restored
    return changed


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
