"""Chat in the terminal through a running gateway.

The answer is streamed as it comes. With --show-sent the gateway also says what went to the model in place of your words; it does so
in development only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.text import Text

from gateway.http.sse import SENT_COMMENT, SHOW_SENT_HEADER
from gateway.settings import Settings

app = typer.Typer(help=__doc__)
EXIT_FAILED = 1
_TIMEOUT = httpx.Timeout(600.0, connect=5.0)


class ChatError(RuntimeError):
    """The gateway refused or failed; the message is its own."""


@app.command()
def chat(
    url: Annotated[str | None, typer.Option(help="The gateway, ending in /v1. [default: the one of this machine's settings]")] = None,
    key: Annotated[str | None, typer.Option(envvar="LLMOS_DEV_KEY", help="The API key.", show_envvar=True)] = None,
    model: Annotated[str | None, typer.Option(help="The model. [default: the first that the gateway lists]")] = None,
    system: Annotated[str | None, typer.Option(help="A system prompt.")] = None,
    show_sent: Annotated[bool, typer.Option("--show-sent", help="Show what the model received.")] = False,
) -> None:
    """Chat in the terminal through a running gateway. An empty line or Ctrl-D ends it."""
    console = Console(highlight=False)
    base = (url or Settings.from_process().base_url).rstrip("/")
    if not key:
        console.print("No key: set LLMOS_DEV_KEY, or give --key.", style="red")
        raise typer.Exit(EXIT_FAILED)
    headers = {"authorization": f"Bearer {key}"}
    if show_sent:
        headers[SHOW_SENT_HEADER] = "true"
    with httpx.Client(base_url=base, headers=headers, timeout=_TIMEOUT, trust_env=False) as client:
        try:
            name = model or first_model(client)
            console.print(Text(f"{name} at {base}. An empty line ends the chat.", "dim"))
            _converse(client, name, system, console)
        except httpx.HTTPError as error:
            console.print(f"The gateway at {base} did not answer ({type(error).__name__}). Does `llmos up` run?", style="red")
            raise typer.Exit(EXIT_FAILED) from None
        except ChatError as error:
            console.print(Text(str(error), "red"))
            raise typer.Exit(EXIT_FAILED) from None


def _converse(client: httpx.Client, model: str, system: str | None, console: Console) -> None:
    messages: list[dict[str, str]] = [{"role": "system", "content": system}] if system else []
    while True:
        try:
            said = console.input("[bold]you[/bold]  ")
        except (EOFError, KeyboardInterrupt):
            console.print()
            return
        if not said.strip():
            return
        messages.append({"role": "user", "content": said})
        console.print("[bold]model[/bold]  ", end="")
        answer = ""
        sent: Any = None
        for kind, value in stream(client, model, messages):
            if kind == "sent":
                sent = value
            else:
                answer += value
                console.out(value, end="", highlight=False)
        console.print()
        if sent is not None:
            console.print(Text(f"sent   {_last_text(sent)}", "dim"))
        messages.append({"role": "assistant", "content": answer})


def stream(client: httpx.Client, model: str, messages: list[dict[str, str]], **sampling: float) -> Iterator[tuple[str, Any]]:
    """("text", piece) for each piece of the answer, and ("sent", body) where the gateway shows it. Raises ChatError."""
    body = {"model": model, "messages": messages, "stream": True, **sampling}
    with client.stream("POST", "/chat/completions", json=body) as response:
        if response.status_code != httpx.codes.OK:
            raise ChatError(_message(response.read()))
        for line in response.iter_lines():
            if line.startswith(SENT_COMMENT):
                yield "sent", json.loads(line.removeprefix(SENT_COMMENT))
            elif line.startswith("data: {"):
                event = json.loads(line.removeprefix("data: "))
                if event.get("error"):
                    raise ChatError(event["error"]["message"])
                for choice in event["choices"]:
                    if piece := choice["delta"].get("content"):
                        yield "text", piece


def first_model(client: httpx.Client) -> str:
    """The first model that the gateway lists. Raises ChatError."""
    response = client.get("/models")
    if response.status_code != httpx.codes.OK:
        raise ChatError(_message(response.content))
    models = response.json()["data"]
    if not models:
        raise ChatError("The gateway serves no model.")
    return str(models[0]["id"])


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return "The gateway answered with something that is not of OpenAI's form."


def _last_text(sent: dict[str, Any]) -> str:
    content = sent["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
