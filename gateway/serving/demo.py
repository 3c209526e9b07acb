"""One chat request with personal data, shown three times: as the caller wrote it, as the model server received it, as it came back.

The middle column is the body that the relay forwarded, not a guess. All values are fictitious; the result counts how
many of them stand in the bytes that left.
"""

from __future__ import annotations

import difflib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.serving.relay import Relay

REQUEST_TIMEOUT_S = 120.0
MAX_TOKENS = 96
PICTURE_COLUMNS = 132
_FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
VALUES = ("Sarah Connor", "sarah.connor@gmail.com", "(415) 555-2671", "4539 1488 0343 6467", "536-90-4399")
NAME, EMAIL, PHONE, CARD, SSN = VALUES
# a task that a model of 135 million parameters manages more often than not
MESSAGE = f"Repeat this record line by line.\nName: {NAME}\nE-mail: {EMAIL}\nPhone: {PHONE}\nCard: {CARD}\nSSN: {SSN}"


class DemoError(RuntimeError):
    """The demonstration's request failed; the message holds the gateway's own error message."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The three texts, and how many of the caller's values stand in the bytes that went to the model server."""

    wrote: str = field(repr=False)
    received: str = field(repr=False)
    got_back: str = field(repr=False)
    leaked: int


async def run(gateway_url: str, key: str, model: str, relay: Relay) -> Shown:
    """Sends the request to `gateway_url` (…/v1). Raises DemoError."""
    body = {"model": model, "messages": [{"role": "user", "content": MESSAGE}], "temperature": 0.0, "max_tokens": MAX_TOKENS}
    with relay.recording() as records:
        async with httpx.AsyncClient(timeout=REQUEST_TIMEOUT_S, trust_env=False) as client:
            try:
                answer = await client.post(f"{gateway_url}/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"})
            except httpx.HTTPError as error:
                raise DemoError(f"the gateway did not answer: {type(error).__name__}") from None
    if answer.status_code != httpx.codes.OK:
        raise DemoError(f"the gateway answered {answer.status_code}: {_error_message(answer)}")
    if not records:
        raise DemoError("no request passed to the model server")
    sent = json.loads(records[-1])
    return Shown(
        wrote=MESSAGE,
        received=_text(sent["messages"][-1]["content"]),
        got_back=_text(answer.json()["choices"][0]["message"]["content"]),
        leaked=sum(any(value.encode() in record for record in records) for value in VALUES),
    )


async def first_model(gateway_url: str, key: str) -> str:
    """The first name that the gateway serves. Raises DemoError."""
    async with httpx.AsyncClient(timeout=REQUEST_TIMEOUT_S, trust_env=False) as client:
        try:
            answer = await client.get(f"{gateway_url}/models", headers={"Authorization": f"Bearer {key}"})
        except httpx.HTTPError as error:
            raise DemoError(f"the gateway did not answer: {type(error).__name__}") from None
    if answer.status_code != httpx.codes.OK:
        raise DemoError(f"the gateway answered {answer.status_code}: {_error_message(answer)}")
    names = [str(each["id"]) for each in answer.json()["data"]]
    if not names:
        raise DemoError("the upstream lists no model")
    return names[0]


def table(shown: Shown) -> RenderableType:
    """The three columns; the caller's values in green, what stands in their place in yellow."""
    columns = Table(expand=True, show_lines=False)
    for title in ("the caller wrote", "vLLM received", "the caller got back"):
        columns.add_column(title, ratio=1, overflow="fold")
    columns.add_row(_mark_values(shown.wrote), _mark_changes(shown.wrote, shown.received), _mark_values(shown.got_back))
    verdict = (
        Text(f"{shown.leaked} of {len(VALUES)} values reached the model server. Detection missed them.", "bold red")
        if shown.leaked
        else Text(f"0 of {len(VALUES)} values stand in the bytes that the model server was sent.", "green")
    )
    return Group(columns, verdict)


def picture(shown: Shown) -> str:
    """The same as an SVG, without the web font that rich would have a reader's browser fetch."""
    console = Console(record=True, width=PICTURE_COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(table(shown))
    return _FONT_FACE.sub("", console.export_svg(title="llmos up --demo", unique_id="llmos"))


def _mark_values(text: str, values: Sequence[str] = VALUES) -> Text:
    marked = Text(text)
    marked.highlight_words(values, "bold green", case_sensitive=True)
    return marked


def _mark_changes(before: str, after: str) -> Text:
    """`after`, with the words that are not in `before` at that place set off."""
    old, new = re.findall(r"\s+|[^\s]+", before), re.findall(r"\s+|[^\s]+", after)
    marked = Text()
    for kind, _, _, start, end in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        marked.append("".join(new[start:end]), None if kind == "equal" else "bold yellow")
    return marked


def _text(content: Any) -> str:
    """A message's content, which is a string or a list of parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content)
    return str(content)


def _error_message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase
