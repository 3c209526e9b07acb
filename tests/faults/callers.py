"""Callers that send planted values and know what the answer must be: each outcome is right, a typed error, or a fault of the gateway.

right       the answer is the caller's own text, to the last character
refused     an OpenAI error whose code stands in the gateway's error tree
cut         the connection broke: allowed only where the worker that served it was killed
wrong       anything else: a changed answer, a stream that ends early without saying so, an untyped error
"""

from __future__ import annotations

import random
import threading
import time
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
PRIVATE_SHARE, MPC_SHARE = 0.1, 0.2  # of the requests


def codes(kind: type[errors.LlmosError] = errors.LlmosError) -> set[str]:
    return {kind.code}.union(*(codes(each) for each in kind.__subclasses__()))


TYPED = codes() - {"internal_error"}


@dataclass
class Tally:
    right: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    cut: int = 0
    wrong: list[str] = field(default_factory=list)
    served_ids: list[str] = field(default_factory=list)
    private: int = 0
    secret_shared: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add_refused(self, code: str) -> None:
        with self.lock:
            self.refused[code] = self.refused.get(code, 0) + 1


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
        ordinary = openai.OpenAI(base_url=self.url, api_key=self.key, max_retries=0, timeout=75)
        private = openai.OpenAI(base_url=self.url, api_key=self.private_key, max_retries=0, timeout=75)
        while not self._halt.is_set():
            try:
                kind = dice.random()
                if kind < PRIVATE_SHARE:
                    self._ask_private(private)
                elif kind < PRIVATE_SHARE + MPC_SHARE:
                    self._ask_mpc(ordinary, dice)
                else:
                    self._ask(ordinary, dice)
            except openai.APIStatusError as error:
                self._judge(error.code, f"{error.status_code} {error.code}")
            except (openai.APIConnectionError, httpx.HTTPError):
                with self.tally.lock:
                    self.tally.cut += 1
                time.sleep(0.1)
            except openai.APIError as error:  # a stream's error event
                self._judge(error.code, repr(error))
            time.sleep(dice.uniform(0.0, 0.1))

    def _judge(self, code: str | None, what: str) -> None:
        if code in TYPED:
            self.tally.add_refused(str(code))
            time.sleep(0.1)
        else:
            with self.tally.lock:
                self.tally.wrong.append(what)

    def _ask(self, client: openai.OpenAI, dice: random.Random) -> None:
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
            if not finished:  # the connection ended inside the answer, and the SDK did not say so
                with self.tally.lock:
                    self.tally.cut += 1
                return
        else:
            got = answer.choices[0].message.content
        with self.tally.lock:
            if got == text:
                self.tally.right += 1
                self.tally.served_ids.append(raw.headers["x-request-id"])
            else:
                self.tally.wrong.append(f"{model} {'stream' if stream else 'whole'}: {len(got)} of {len(text)} characters, changed")

    def _ask_private(self, client: openai.OpenAI) -> None:
        messages = [{"role": "user", "content": "Rate the note of Sarah Connor."}]
        answer = client.chat.completions.create(model="echo", messages=messages, max_tokens=60)
        with self.tally.lock:
            if "score" in answer.choices[0].message.content:
                self.tally.private += 1
            else:
                self.tally.wrong.append("a private answer of another shape")

    def _ask_mpc(self, client: openai.OpenAI, dice: random.Random) -> None:
        opening = dice.choice(list(self.mpc_answers))
        messages = [{"role": "user", "content": f"{opening} {dice.choice(MAILS)}"}]
        raw = client.chat.completions.with_raw_response.create(model=MPC_MODEL, messages=messages, temperature=0, max_tokens=MAX_TOKENS)
        got = raw.parse().choices[0].message.content
        with self.tally.lock:
            if got == self.mpc_answers[opening]:
                self.tally.secret_shared += 1
                self.tally.served_ids.append(raw.headers["x-request-id"])
            else:
                self.tally.wrong.append("a secret-shared answer that is not the plain model's")
