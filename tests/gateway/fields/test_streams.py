"""A stream restored, from the model server's bytes to the caller's events: however they are cut, the answer is the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.backends.sse_reader import SseReader
from gateway.exchange import IssuedValue
from gateway.fields.stream_choices import ChoiceStream
from gateway.fields.stream_responses import ResponseStream
from gateway.pii.answer_filter import AnswerFilter, AnswerRules
from policies.schema import Policy

ISSUED = (
    IssuedValue("Astrid Talbot", 'Sarah "S" Connor', "PERSON", "surrogate"),
    IssuedValue("<NRP_x3rr>", "Catholic", "NRP", "placeholder"),
    IssuedValue("elias.varga@example.org", "js@acme.com", "EMAIL_ADDRESS", "surrogate"),
    IssuedValue("滕麒", "王伟", "PERSON", "surrogate"),
)
WORDS = st.sampled_from(
    ["Astrid Talbot", "Astrid", "Ast", "<NRP_x3rr>", "<NRP", "elias.varga@example.org", "elias", "滕麒", "滕", "🧑‍⚕️", " ", ", ", "\n",
     "x", "5105105105105100"]
)  # fmt: skip
TEXTS = st.lists(WORDS, min_size=1, max_size=8).map("".join)
SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=5)
RULES = AnswerRules(Policy(id="x"), ISSUED, ["no caller's text"])
CHECKED = settings(max_examples=60, deadline=None)


def in_pieces(text: str, sizes: Sequence[int]) -> list[str]:
    pieces, at, turn = [], 0, 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        pieces.append(text[at : at + size])
        at, turn = at + size, turn + 1
    return pieces


def framed(events: Sequence[Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n" for event in events)


async def restored(stream: ChoiceStream | ResponseStream, raw: bytes, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """What goes to the caller for the model server's bytes, cut so."""
    reader, released, at, turn = SseReader(), [], 0, 0
    while at < len(raw):
        size = sizes[turn % len(sizes)]
        for data in reader.feed(raw[at : at + size]):
            released += await stream.event(json.loads(data))
        at, turn = at + size, turn + 1
    return released + await stream.end()


def choices(show_usage: bool = False) -> ChoiceStream:
    return ChoiceStream(lambda json_text: AnswerFilter(RULES, json_text=json_text), chat=True, model="m", show_usage=show_usage)


def chat_events(texts: Sequence[str], arguments: str, sizes: Sequence[int]) -> list[Any]:
    """Choices interleaved piece by piece, then a tool call of the last one."""

    def chunk(index: int, delta: Any, finish: str | None = None) -> Any:
        return {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}

    rows = [in_pieces(text, sizes) for text in texts]
    events = [chunk(index, {"role": "assistant", "content": ""}) for index in range(len(texts))]
    for turn in range(max(map(len, rows))):
        events += [chunk(index, {"content": row[turn]}) for index, row in enumerate(rows) if turn < len(row)]
    events += [
        chunk(len(texts) - 1, {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}) for piece in in_pieces(arguments, sizes)
    ]
    return events + [chunk(index, {}, "stop") for index in range(len(texts))]


def heard(events: Sequence[dict[str, Any]], count: int) -> tuple[list[str], str]:
    """The texts and arguments that a client assembles; nothing may come after a choice has finished."""
    texts, arguments, finished = [""] * count, "", set()
    for event in events:
        for choice in event["choices"]:
            delta = choice["delta"]
            said = (delta.get("content") or "") + "".join(c["function"].get("arguments") or "" for c in delta.get("tool_calls") or ())
            assert not (said and choice["index"] in finished)
            texts[choice["index"]] += delta.get("content") or ""
            for call in delta.get("tool_calls") or ():
                arguments += call["function"].get("arguments") or ""
            if choice["finish_reason"]:
                finished.add(choice["index"])
    assert finished == set(range(count))
    return texts, arguments


@CHECKED
@given(texts=st.lists(TEXTS, min_size=1, max_size=3), said=TEXTS, pieces=SIZES, cuts=SIZES)
def test_every_cut_of_a_chat_stream_gives_the_same_answer(texts: list[str], said: str, pieces: list[int], cuts: list[int]) -> None:
    arguments = json.dumps({"to": said, "also": [said]}, ensure_ascii=False)

    async def check() -> None:
        raw = framed(chat_events(texts, arguments, pieces))
        by_event = await restored(choices(), raw, [len(raw)])
        assert await restored(choices(), raw, cuts) == by_event
        assert await restored(choices(), raw, [1]) == by_event
        whole = [await AnswerFilter(RULES).whole(text) for text in texts]
        assert heard(by_event, len(texts)) == (whole, await AnswerFilter(RULES, json_text=True).whole(arguments))
        single = await restored(choices(), framed(chat_events(texts, arguments, [1])), [7])
        assert heard(single, len(texts)) == heard(by_event, len(texts))

    asyncio.run(check())


def response_events(text: str, sizes: Sequence[int]) -> list[Any]:
    place = {"item_id": "m", "output_index": 0, "content_index": 0}
    item = {"id": "m", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    deltas = [{"type": "response.output_text.delta", **place, "delta": piece} for piece in in_pieces(text, sizes)]
    return [
        {"type": "response.created", "response": {"id": "r", "output": []}},
        *deltas,
        {"type": "response.output_text.done", **place, "text": text},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {"id": "r", "output": [item]}},
    ]


@CHECKED
@given(text=TEXTS, pieces=SIZES, cuts=SIZES)
def test_every_cut_of_a_response_gives_the_same_answer_in_deltas_and_in_the_end(text: str, pieces: list[int], cuts: list[int]) -> None:
    def stream() -> ResponseStream:
        return ResponseStream(lambda json_text: AnswerFilter(RULES, json_text=json_text), request={"input": "x"}, model="m")

    async def check() -> None:
        raw = framed(response_events(text, pieces))
        events = await restored(stream(), raw, [len(raw)])
        assert await restored(stream(), raw, cuts) == events
        whole = await AnswerFilter(RULES).whole(text)
        assert "".join(event["delta"] for event in events if event["type"].endswith(".delta")) == whole
        assert [event["text"] for event in events if event["type"].endswith("text.done")] == [whole]
        assert events[-1]["response"]["output"][0]["content"][0]["text"] == whole

    asyncio.run(check())


@CHECKED
@given(text=TEXTS, pieces=SIZES)
def test_a_stream_that_ends_without_a_finish_reason_loses_nothing(text: str, pieces: list[int]) -> None:
    async def check() -> None:
        raw = framed(chat_events([text], "{}", pieces)[:-1])
        events = await restored(choices(), raw, [5])
        said = "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])
        assert said == await AnswerFilter(RULES).whole(text)

    asyncio.run(check())
