"""Callers that send planted values and know what the answer must be: each outcome is right, a typed error, or a fault of the gateway.

right       the answer is the caller's own text, to the last character
refused     an OpenAI error whose code stands in the gateway's error tree
cut         the connection broke: allowed only where the worker that served it was killed
wrong       anything else: a changed answer, an untyped error, no answer at all
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx
import openai

from gateway import errors
from tests.faults.tiny_mpc import MAX_TOKENS

MAILS = [f"person{number}.{number * 7919 % 1000}@cyberdyne.com" for number in range(30)]
CARDS = ["4111 1111 1111 1111", "4539 1488 0343 6467", "5555 5555 5555 4444"]
CANARIES = [*MAILS, *CARDS, "Sarah Connor"]
MODELS = ["echo", "echo", "echo-5", "echo-40"]
MPC_MODEL = "smollm2-mpc"
TIMEOUT_S = 75.0
PRIVATE_SHARE, MPC_SHARE = 0.1, 0.2  # of the requests


def codes(kind: type[errors.LlmosError] = errors.LlmosError) -> set[str]:
    return {kind.code}.union(*(codes(each) for each in kind.__subclasses__()))


TYPED = codes() - {"internal_error"}


class Changed(Exception):
    """An answer that is not the right one."""


class EndedEarly(Exception):
    """The connection ended inside the answer, and the SDK did not say so."""


@dataclass(frozen=True)
class Request:
    """One request as its caller saw it; moments are of the monotonic clock."""

    kind: str  # ordinary, private, secret_shared
    began_s: float
    ended_s: float
    request_id: str = ""  # of a served one


@dataclass
class Tally:
    served: list[Request] = field(default_factory=list)  # the right answers
    refused: Counter[str] = field(default_factory=Counter)
    cut: list[Request] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def number(self, kind: str) -> int:
        with self.lock:
            return sum(each.kind == kind for each in self.served)

    def served_since(self, kind: str, moment_s: float) -> bool:
        """Whether a request that began after the moment has its right answer."""
        with self.lock:
            return any(each.kind == kind and each.began_s > moment_s for each in self.served)


class Callers:
    """`count` threads that ask until the block ends; `mpc_answers` is what the secret-shared model says to which opening."""

    def __init__(self, url: str, key: str, private_key: str, mpc_answers: dict[str, str], count: int, seed: int) -> None:
        self.url, self.key, self.private_key, self.mpc_answers = url + "/v1", key, private_key, mpc_answers
        self.tally = Tally()
        self._halt = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(random.Random(seed + number),), daemon=True) for number in range(count)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._halt.set()
        for thread in self._threads:
            thread.join(90)
        assert not any(thread.is_alive() for thread in self._threads), "a caller hangs"

    def _run(self, dice: random.Random) -> None:
        ordinary = openai.OpenAI(base_url=self.url, api_key=self.key, max_retries=0, timeout=TIMEOUT_S)
        private = openai.OpenAI(base_url=self.url, api_key=self.private_key, max_retries=0, timeout=TIMEOUT_S)
        while not self._halt.is_set():
            draw = dice.random()
            kind = "private" if draw < PRIVATE_SHARE else "secret_shared" if draw < PRIVATE_SHARE + MPC_SHARE else "ordinary"
            began_s = time.monotonic()
            try:
                if kind == "private":
                    request_id = self._ask_private(private)
                elif kind == "secret_shared":
                    request_id = self._ask_mpc(ordinary, dice)
                else:
                    request_id = self._ask(ordinary, dice)
                with self.tally.lock:
                    self.tally.served.append(Request(kind, began_s, time.monotonic(), request_id))
            except Changed as error:
                self._add_wrong(str(error))
            except openai.APIStatusError as error:
                self._judge(error.code, f"{error.status_code} {error.code}")
            except (openai.APITimeoutError, httpx.TimeoutException):
                self._add_wrong(f"no answer within {TIMEOUT_S:.0f} s")
            except (openai.APIConnectionError, httpx.HTTPError, EndedEarly):
                with self.tally.lock:
                    self.tally.cut.append(Request(kind, began_s, time.monotonic()))
                time.sleep(0.1)
            except openai.APIError as error:  # a stream's error event
                self._judge(error.code, repr(error))
            time.sleep(dice.uniform(0.0, 0.1))

    def _add_wrong(self, what: str) -> None:
        with self.tally.lock:
            self.tally.wrong.append(what)

    def _judge(self, code: str | None, what: str) -> None:
        if code not in TYPED:
            self._add_wrong(what)
            return
        with self.tally.lock:
            self.tally.refused[code] += 1
        time.sleep(0.1)

    def _ask(self, client: openai.OpenAI, dice: random.Random) -> str:
        text = f"My name is Sarah Connor. Write to {dice.choice(MAILS)}, my card is {dice.choice(CARDS)}. Number {dice.randrange(40)}."
        model, stream = dice.choice(MODELS), dice.random() < 0.5
        messages = [{"role": "user", "content": text}]
        raw = client.chat.completions.with_raw_response.create(model=model, messages=messages, stream=stream)
        answer = raw.parse()
        if stream:
            got, finished = "", False
            for chunk in answer:
                for choice in chunk.choices:
                    got, finished = got + (choice.delta.content or ""), finished or choice.finish_reason == "stop"
            if not finished:
                raise EndedEarly
        else:
            got = answer.choices[0].message.content
        if got != text:
            raise Changed(f"{model} {'stream' if stream else 'whole'}: {len(got)} of {len(text)} characters, changed")
        return raw.headers["x-request-id"]

    def _ask_private(self, client: openai.OpenAI) -> str:
        messages = [{"role": "user", "content": "Rate the note of Sarah Connor."}]
        raw = client.chat.completions.with_raw_response.create(model="echo", messages=messages, max_tokens=60)
        if set(json.loads(raw.parse().choices[0].message.content)) != {"score", "urgent"}:
            raise Changed("a private answer of another shape")
        return raw.headers["x-request-id"]

    def _ask_mpc(self, client: openai.OpenAI, dice: random.Random) -> str:
        opening = dice.choice(list(self.mpc_answers))
        messages = [{"role": "user", "content": f"{opening} {dice.choice(MAILS)}"}]
        raw = client.chat.completions.with_raw_response.create(model=MPC_MODEL, messages=messages, temperature=0, max_tokens=MAX_TOKENS)
        if raw.parse().choices[0].message.content != self.mpc_answers[opening]:
            raise Changed("a secret-shared answer that is not the plain model's")
        return raw.headers["x-request-id"]
