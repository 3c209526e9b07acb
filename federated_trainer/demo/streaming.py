"""An OpenAI client that streams answers one after another, all the time, and counts what went wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from openai import OpenAI, OpenAIError


@dataclass
class Tally:
    """Requests that ended; failures as the names of their errors."""

    requests: int = 0
    failures: list[str] = field(default_factory=list)


class StreamingClient:
    """Streams from `base_url` while it is entered, without a retry; `model` is asked for the name before each request."""

    def __init__(self, base_url: str, api_key: str, model: Callable[[], str], pause_s: float = 0.5) -> None:
        self._client = OpenAI(base_url=base_url, api_key=api_key, max_retries=0, timeout=120.0)
        self._model, self._pause_s = model, pause_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.tally = Tally()

    def __enter__(self) -> StreamingClient:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join(timeout=130.0)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                stream = self._client.chat.completions.create(
                    model=self._model(), messages=[{"role": "user", "content": "Name three colours."}], max_tokens=16, stream=True
                )
                finished = any(chunk.choices and chunk.choices[0].finish_reason for chunk in list(stream))
                if not finished:
                    self.tally.failures.append("the stream ended without a finish reason")
            except OpenAIError as error:
                self.tally.failures.append(type(error).__name__)
            self.tally.requests += 1
            time.sleep(self._pause_s)


def ask(base_url: str, api_key: str, model: str, messages: list[dict[str, str]], max_tokens: int = 32) -> str:
    """One greedy answer. Raises openai.OpenAIError."""
    client = OpenAI(base_url=base_url, api_key=api_key, timeout=120.0)
    reply = client.chat.completions.create(model=model, messages=messages, max_tokens=max_tokens, temperature=0)  # type: ignore[arg-type]
    return reply.choices[0].message.content or ""
