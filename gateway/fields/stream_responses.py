"""A stream of /v1/responses, restored event by event.

A delta goes through the filter of its text; when the text's `done` event comes, what the filter still holds goes out as one more delta
before it. The whole texts in `done` events and in the final response are the same words as the deltas gave: they are looked up by the
model server's text, and filtered as a whole only if no delta brought them. Events of an unknown type are dropped. Sequence numbers are
written anew, since a delta that is wholly held back is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.exchange import AnswerText, Json
from gateway.fields.answers import RESPONSE, RESPONSE_ITEM, RESPONSE_PART, AnswerLeaf, read_shape, repeat_request

_RESPONSE_EVENTS = frozenset(f"response.{state}" for state in ("created", "queued", "in_progress", "completed", "incomplete", "failed"))
TERMINAL_EVENTS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_ITEM_EVENTS = frozenset({"response.output_item.added", "response.output_item.done"})
_PART_EVENTS = frozenset(
    f"response.{part}.{state}" for part in ("content_part", "reasoning_part", "reasoning_summary_part") for state in ("added", "done")
)
_TEXTS = {  # the events of a text, the field of its `done` event, and whether it is itself JSON
    "response.output_text": ("text", False),
    "response.refusal": ("refusal", False),
    "response.reasoning_text": ("text", False),
    "response.reasoning_summary_text": ("text", False),
    "response.function_call_arguments": ("arguments", True),
}
_PLACE = ("item_id", "output_index", "content_index", "summary_index")


@dataclass(slots=True)
class _Text:
    """A text under way: its filter, what came in, what went out."""

    filter: AnswerText
    came: str = ""
    went: str = ""


class ResponseStream:
    """Restores the events of one response. `request` is the caller's own body, parts of which a response repeats."""

    def __init__(self, open_text: Callable[[bool], AnswerText], *, request: Json, model: str) -> None:
        self._open = open_text
        self._request = request
        self._model = model
        self._under_way: dict[tuple[Any, ...], _Text] = {}
        self._known: dict[tuple[str, bool], str] = {}
        self._sequence = 0

    async def event(self, event: Json) -> list[Json]:
        """The events to release for one event of the model server."""
        kind = event.get("type")
        if not isinstance(kind, str):
            return []
        family, _, state = kind.rpartition(".")
        if family in _TEXTS:
            released = await self._delta(family, event) if state == "delta" else await self._done(family, event)
        elif kind in _RESPONSE_EVENTS:
            released = [{"type": kind, "response": await self._response(event.get("response"))}]
        elif kind in _ITEM_EVENTS:
            item, leaves = read_shape(RESPONSE_ITEM, event.get("item"))
            await self._restore(leaves)
            released = [{"type": kind, "output_index": event.get("output_index"), "item": item}]
        elif kind in _PART_EVENTS:
            part, leaves = read_shape(RESPONSE_PART, event.get("part"))
            await self._restore(leaves)
            released = [{"type": kind, **_place(event), "part": part}]
        else:
            released = []
        for each in released:
            each["sequence_number"] = self._sequence
            self._sequence += 1
        return released

    async def end(self) -> list[Json]:
        """A response ends with its terminal event, so nothing is left."""
        return []

    async def _delta(self, family: str, event: Json) -> list[Json]:
        piece = event.get("delta")
        if not isinstance(piece, str):
            return []
        place = _place(event)
        key = (family, *place.values())
        text = self._under_way.get(key)
        if text is None:
            text = self._under_way[key] = _Text(self._open(_TEXTS[family][1]))
        text.came += piece
        released = await text.filter.feed(piece)
        text.went += released
        return [_delta_event(family, place, released)] if released else []

    async def _done(self, family: str, event: Json) -> list[Json]:
        name, json_text = _TEXTS[family]
        place = _place(event)
        events: list[Json] = []
        text = self._under_way.pop((family, *place.values()), None)
        if text is not None:
            tail = await text.filter.finish()
            text.went += tail
            self._known[text.came, json_text] = text.went
            if tail:
                events.append(_delta_event(family, place, tail))
        done: Json = {"type": f"{family}.done", **place, name: await self._whole(str(event.get(name) or ""), json_text)}
        if family == "response.output_text":
            done["logprobs"] = []
        if "name" in event:
            done["name"] = event["name"]
        return [*events, done]

    async def _response(self, body: Any) -> Json:
        response, leaves = read_shape(RESPONSE, body)
        await self._restore(leaves)
        repeat_request(response, self._request)
        response["model"] = self._model
        return response

    async def _restore(self, leaves: list[AnswerLeaf]) -> None:
        for leaf in leaves:
            leaf.container[leaf.key] = await self._whole(leaf.container[leaf.key], leaf.json_text)

    async def _whole(self, text: str, json_text: bool) -> str:
        known = self._known.get((text, json_text))
        if known is None:
            known = self._known[text, json_text] = await self._open(json_text).whole(text) if text else ""
        return known


def _place(event: Json) -> Json:
    return {name: event[name] for name in _PLACE if name in event}


def _delta_event(family: str, place: Json, text: str) -> Json:
    event: Json = {"type": f"{family}.delta", **place, "delta": text}
    if family == "response.output_text":
        event["logprobs"] = []
    return event
