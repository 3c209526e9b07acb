"""The demonstration's request once more, over secret shares: what each party received, and what the caller got back.

The words come from the parties themselves, which show the first of the last share that they received where the deployment file says
`show_shares`. Each word alone is uniform; the demonstration's operator holds both, which is why it gives no privacy.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.serving.demo import MESSAGE, REQUEST_TIMEOUT_S, DemoError
from mpc_inference import launch
from mpc_inference.errors import MpcError

MAX_TOKENS = 32


@dataclass(frozen=True, slots=True)
class SharesShown:
    """The first words of each party's last share in hex, the caller's answer, and how long it took."""

    shares: tuple[tuple[str, ...], tuple[str, ...]]
    got_back: str = field(repr=False)
    tokens: int
    seconds: float


async def run(gateway_url: str, key: str, model: str, config: Path) -> SharesShown:
    """Sends the request to `gateway_url` (…/v1), then asks the parties. Raises DemoError."""
    body = {"model": model, "messages": [{"role": "user", "content": MESSAGE}], "temperature": 0.0, "max_tokens": MAX_TOKENS}
    begun_s = time.monotonic()
    async with httpx.AsyncClient(timeout=REQUEST_TIMEOUT_S, trust_env=False) as client:
        try:
            answer = await client.post(f"{gateway_url}/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"})
        except httpx.HTTPError as error:
            raise DemoError(f"the gateway did not answer: {type(error).__name__}") from None
    seconds = time.monotonic() - begun_s
    content: Any = answer.json()
    if answer.status_code != httpx.codes.OK:
        raise DemoError(f"the gateway answered {answer.status_code}: {content['error']['message']}")
    try:
        first, second = await asyncio.to_thread(launch.status, config)
    except MpcError as error:
        raise DemoError(str(error)) from None
    text = str(content["choices"][0]["message"]["content"])
    return SharesShown((tuple(first["shown"]), tuple(second["shown"])), text, int(content["usage"]["completion_tokens"]), seconds)


def table(shown: SharesShown) -> RenderableType:
    """Three columns, and what they mean."""
    columns = Table(expand=True, show_lines=False)
    for title in ("party 0 received", "party 1 received", "the caller got back"):
        columns.add_column(title, ratio=1, overflow="fold")
    columns.add_row(*(Text(" ".join((*words, "…")), "yellow") for words in shown.shares), Text(shown.got_back))
    said = (
        f"{shown.tokens} tokens in {shown.seconds:.1f} s. Each share alone is uniform noise; both added are the prompt. "
        "Here one machine holds both, so this shows the protocol and protects nothing."
    )
    return Group(columns, Text(said, "dim"))
