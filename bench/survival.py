"""How many of the caller's values come back through a real model: surrogates beside placeholders, and beside the plain text.

    python -m bench.survival [--upstream http://127.0.0.1:8001/v1] [--prompts 40]

Each prompt gives the model values and a task that needs them. It is asked three times at temperature 0: straight to the model server
with the values as they are (what the model repeats at best), and through the gateway under two policies that differ in the action
alone. Of the values that the gateway replaced, the share is counted that stands in the caller's answer, letter by letter. Without
--upstream a vLLM with SmolLM2 is started. Writes docs/benchmarks/survival.md and survival.json.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from redis.asyncio import Redis

from bench.gateway.processes import ROOT, process
from bench.stamp import stamped
from gateway.commands.chat import stream
from gateway.commands.pii import wilson
from gateway.http.sse import SHOW_SENT_HEADER
from gateway.pii.keyring import KeyRing
from gateway.serving.valkey import EmbeddedValkey
from gateway.serving.vllm_server import VllmServer
from gateway.stores.keys import ValkeyKeys
from gateway.stores.policies import ValkeyPolicies
from policies.load import load_pack

PAGE = ROOT / "docs" / "benchmarks" / "survival.md"
GATEWAY_PORT, VLLM_PORT = 8847, 8848
MODEL = "smollm2"
MAX_TOKENS = 96
AT_ONCE = 8
SEED = 11
TIMEOUT_S = 300.0
ACTIONS = ("surrogate", "placeholder")

# Fictitious values that occur in no list of the gateway's own surrogates or training data.
PEOPLE = ["Sarah Connor", "Miguel Alvarez", "Priya Raman", "Tom Becker", "Amina Yusuf", "Grace O'Neill", "Daniel Cho", "Laura Rossi"]
MAILS = ["s.connor@skymail.com", "malvarez77@postbox.net", "priya.raman@lumina.io", "tbecker@nordwerk.de", "amina@yusuf-law.com"]
PHONES = ["(415) 555-2671", "+1 212 867 5309", "+49 30 901820", "+44 20 7946 0991", "650-253-0000"]
CARDS = ["4539 1488 0343 6467", "5425 2334 3010 9903", "4916 3385 0608 2832"]
SSNS = ["536-90-4399", "221-45-7781", "404-11-9032"]
TASKS = [
    ("Write one short sentence that invites {person} to a meeting and asks for an answer to {mail}.", ("person", "mail")),
    ("Repeat this contact exactly: name {person}, e-mail {mail}, phone {phone}.", ("person", "mail", "phone")),
    ('Give this as JSON with the keys "name" and "phone": {person} can be reached at {phone}.', ("person", "phone")),
    ("Client: {person}, card {card}. Which card number does the client have? Answer with the number only.", ("card",)),
    ("Correct the spelling: my freind {person} has moved, her new e-mial is {mail}.", ("person", "mail")),
    ("{person} (SSN {ssn}) asks for a copy of her file. What is her social security number?", ("ssn",)),
    ("Summarise in one sentence: {person} called from {phone} and wants a refund to card {card}.", ("person", "phone", "card")),
    ("Who wrote this? 'Dear team, I am on holiday until Monday. Best regards, {person}'", ("person",)),
]
LISTS = {"person": PEOPLE, "mail": MAILS, "phone": PHONES, "card": CARDS, "ssn": SSNS}


@dataclass(frozen=True, slots=True)
class Prompt:
    """One task and the values that a good answer repeats."""

    text: str
    values: dict[str, str]


@dataclass
class Counted:
    """Of the values of one system: how many were put to the model (replaced, or plain), and how many came back; by kind."""

    asked: Counter[str] = field(default_factory=Counter)
    back: Counter[str] = field(default_factory=Counter)
    missed: int = 0  # values that no detector found: they went to the model as they are and are not counted


def prompts(count: int) -> list[Prompt]:
    """The same ones each time: tasks in turn, values drawn with a fixed seed."""
    draw = random.Random(SEED)
    made = []
    for number in range(count):
        task, kinds = TASKS[number % len(TASKS)]
        values = {kind: draw.choice(choices) for kind, choices in LISTS.items()}
        made.append(Prompt(task.format(**values), {kind: values[kind] for kind in kinds}))
    return made


def ask_plain(client: httpx.Client, prompt: Prompt) -> tuple[str, str]:
    """(what the model received, what it answered)."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": prompt.text}], "max_tokens": MAX_TOKENS, "temperature": 0}
    answer = client.post("/chat/completions", json=body).raise_for_status().json()
    return prompt.text, answer["choices"][0]["message"]["content"] or ""


def ask_gateway(client: httpx.Client, prompt: Prompt) -> tuple[str, str]:
    """The same through the gateway, which says what it sent."""
    sent, answer = "", ""
    for kind, value in stream(client, MODEL, [{"role": "user", "content": prompt.text}], max_tokens=MAX_TOKENS, temperature=0):
        if kind == "sent":
            sent = value["messages"][-1]["content"]
        else:
            answer += value
    return sent, answer


def ask_all(asked: list[Prompt], url: str, headers: dict[str, str], *, plain: bool) -> Counted:
    """Ask every prompt, some at once, and count."""
    print(f"  {url} …", flush=True)
    with httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False) as client, ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda each: (ask_plain if plain else ask_gateway)(client, each), asked))
    counted = Counted()
    for prompt, (sent, answer) in zip(asked, answers, strict=True):
        for kind, value in prompt.values.items():
            if not plain and value in sent:
                counted.missed += 1
                continue
            counted.asked[kind] += 1
            counted.back[kind] += value in answer
    return counted


async def prepare(valkey_url: str, data_dir: Path) -> dict[str, str]:
    """One policy and one key a system; the policies are the default pack with every acting entity at one action."""
    ring = KeyRing.load_or_create(data_dir / "master.key")
    keys = {}
    async with Redis.from_url(valkey_url) as redis, ValkeyPolicies(redis) as policies:
        await policies.seed("default")
        store = ValkeyKeys(redis, ring.index_key("api-keys"))
        for action in ACTIONS:
            rules = {
                name: {"action": rule.action.value if rule.action.value in ("allow", "redact") else action, "score": rule.score}
                for name, rule in load_pack("default").entities.items()
            }
            source = json.dumps({"id": f"all-{action}", "match": {"tenants": [action]}, "entities": rules})
            await policies.apply(source, author="bench", reason="survival")
            keys[action] = f"sk-llmos-bench-{action}"
            await store.create(tenant=action, role="caller", label="bench", created_by="bench", text=keys[action])
    return keys


@contextlib.contextmanager
def model_server(named: str | None, folder: Path) -> Iterator[str]:
    """The URL of the named server, or of a vLLM with SmolLM2 that runs until the end of the context."""
    if named:
        yield named.rstrip("/")
        return
    server = VllmServer(ROOT / ".venv-vllm" / "bin" / "python", ROOT / ".llmos" / "models" / "smollm2", VLLM_PORT)
    print("  starting vLLM …", flush=True)
    health = f"http://127.0.0.1:{VLLM_PORT}/health"
    with process(server.command(), health, folder / "vllm.log", server.environment(), start_timeout_s=600):
        yield server.base_url


def page(results: dict[str, Counted], prompt_count: int) -> list[str]:
    lines = [
        "# How many values survive the model",
        "",
        "Made by `make bench-survival`: SmolLM2-135M-Instruct on vLLM, temperature 0, "
        f"{prompt_count} prompts that give the model values and a task that needs them.",
        "Counted is the share of the values that the gateway replaced and that stand, letter by letter, in the answer that the caller got,",
        "with the 95 % interval of Wilson. The first row asks the model server directly with the values as they are: what this small model",
        "repeats at best. A value that no detector found is left out of its row (`missed`).",
        "",
        "| system | all values | " + " | ".join(LISTS) + " | missed |",
        "| " + " | ".join(["---"] * (len(LISTS) + 3)) + " |",
    ]
    for name, counted in results.items():
        low, high = wilson(counted.back.total(), counted.asked.total())
        share = counted.back.total() / counted.asked.total()
        cells = [f"{counted.back[kind]}/{counted.asked[kind]}" for kind in LISTS]
        lines.append(f"| {name} | {share:.2f} ({low:.2f} to {high:.2f}) | {' | '.join(cells)} | {counted.missed} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", help="a vLLM that serves smollm2, ending in /v1; without it one is started")
    parser.add_argument("--prompts", type=int, default=40)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="llmos-survival-"))
    asked = prompts(arguments.prompts)
    try:
        with model_server(arguments.upstream, folder) as upstream, EmbeddedValkey(folder / "data") as valkey:
            keys = asyncio.run(prepare(valkey.url, folder / "data"))
            settings = {
                "PYTHONPATH": str(ROOT),
                "LLMOS_DATA_DIR": str(folder / "data"),
                "LLMOS_REDIS_URL": valkey.url,
                "LLMOS_DETECTOR_WORKERS": "1",
                "LLMOS_UPSTREAM_IDLE_TIMEOUT_S": str(TIMEOUT_S),
            }
            serve = [sys.executable, "-m", "gateway.cli", "serve", "--upstream", upstream, "--port", str(GATEWAY_PORT)]
            url = f"http://127.0.0.1:{GATEWAY_PORT}"
            with process(serve, f"{url}/readyz", folder / "llmos.log", settings):
                results = {"plain text, no gateway": ask_all(asked, upstream, {}, plain=True)}
                for action, key in keys.items():
                    headers = {"authorization": f"Bearer {key}", SHOW_SENT_HEADER: "1"}
                    results[f"LLMOS, {action}s"] = ask_all(asked, f"{url}/v1", headers, plain=False)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    lines = page(results, len(asked))
    PAGE.write_text("\n".join(lines) + "\n")
    figures = {name: {"asked": dict(each.asked), "back": dict(each.back), "missed": each.missed} for name, each in results.items()}
    PAGE.with_suffix(".json").write_text(json.dumps(stamped(figures), indent=1) + "\n")
    print("\n".join(lines))
    print(f"Written to {PAGE.relative_to(ROOT)}.")


if __name__ == "__main__":
    main()
