"""The callers: many streams at once, or mixed traffic; each outcome is counted by kind."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import aiohttp

from bench.gateway.load import TEXT
from bench.load.samples import Samples

RAMP_S = 20.0
VARIANTS = 40
SOAK_CALLERS = 12


@dataclass
class Load:
    """One target under load."""

    name: str
    url: str
    key: str
    pid: int | None = None
    total_ms: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    gaps_ms: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    samples: Samples | None = None

    @property
    def failed(self) -> int:
        return sum(number for outcome, number in self.outcomes.items() if outcome != "ok")


def text_of(dice: random.Random) -> str:
    """One of a few dozen texts, as the turns of as many conversations: a cached detection mostly."""
    return f"{TEXT} Reference {dice.randrange(VARIANTS):03d}."


async def stream(session: aiohttp.ClientSession, load: Load, text: str) -> None:
    """One stream, read to its end; it counts as served only if its text came back whole."""
    body = {"model": "stub", "messages": [{"role": "user", "content": text}], "stream": True}
    begin = last = time.perf_counter()
    first, got = None, ""
    try:
        async with session.post(load.url + "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {load.key}"}) as response:
            if response.status != 200:
                load.outcomes[f"{response.status}"] += 1
                return
            async for line in response.content:
                if not line.startswith(b"data: {"):
                    continue
                event = json.loads(line[6:])
                piece = "".join((choice.get("delta") or {}).get("content") or "" for choice in event.get("choices", ()))
                now = time.perf_counter()
                if piece:
                    got += piece
                    first = first or now - begin
                    load.gaps_ms.append((now - last) * 1e3)
                last = now
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        load.outcomes[type(error).__name__] += 1
        return
    load.outcomes["ok" if got == text else "changed"] += 1
    load.total_ms.append((time.perf_counter() - begin) * 1e3)
    load.first_ms.append((first or 0) * 1e3)


async def many_streams(load: Load, count: int, seconds: float) -> None:
    """`count` callers, begun over RAMP_S, each streaming again and again until the time is over; the last answers are read out."""
    end = time.monotonic() + seconds

    async def caller(number: int, session: aiohttp.ClientSession) -> None:
        dice = random.Random(number)
        await asyncio.sleep(min(RAMP_S, seconds / 3) * number / count)
        while time.monotonic() < end:
            await stream(session, load, text_of(dice))

    timeout = aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        sampling = None
        if load.pid:
            load.samples = Samples(load.pid)
            sampling = asyncio.create_task(load.samples.take(seconds))  # not while the last streams end: memory falls then
        await asyncio.gather(*(caller(number, session) for number in range(count)))
        if sampling:
            await sampling


async def soak(load: Load, minutes: float) -> None:
    """Mixed traffic: streams and whole answers, new and known texts, wrong requests, callers that hang up."""
    end = time.monotonic() + 60 * minutes

    async def caller(number: int, session: aiohttp.ClientSession) -> None:
        dice = random.Random(number)
        while time.monotonic() < end:
            kind = dice.random()
            try:
                if kind < 0.4:
                    await stream(session, load, text_of(dice))
                elif kind < 0.8:
                    await _whole(session, load, f"{TEXT} Reference {dice.getrandbits(40):x}." if kind < 0.6 else text_of(dice))
                elif kind < 0.9:
                    await _wrong(session, load)
                else:
                    await _hang_up(session, load, text_of(dice))
            except (aiohttp.ClientError, OSError) as error:
                load.outcomes[type(error).__name__] += 1
            await asyncio.sleep(dice.uniform(0, 0.5))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=120)) as session:
        assert load.pid
        load.samples = Samples(load.pid)
        sampling = asyncio.create_task(load.samples.take(60 * minutes))
        await asyncio.gather(*(caller(number, session) for number in range(SOAK_CALLERS)))
        await sampling


async def _whole(session: aiohttp.ClientSession, load: Load, text: str) -> None:
    body = {"model": "stub", "messages": [{"role": "user", "content": text}]}
    headers = {"authorization": f"Bearer {load.key}"}
    async with session.post(load.url + "/v1/chat/completions", json=body, headers=headers) as response:
        answer = await response.json()
        right = response.status == 200 and answer["choices"][0]["message"]["content"] == text
        load.outcomes["ok" if right else f"whole {response.status}"] += 1


async def _wrong(session: aiohttp.ClientSession, load: Load) -> None:
    headers = {"authorization": f"Bearer {load.key}"}
    async with session.post(load.url + "/v1/chat/completions", data=b'{"model": "stub", "messages": ', headers=headers) as response:
        await response.read()
        load.outcomes["ok" if response.status == 400 else f"wrong {response.status}"] += 1


async def _hang_up(session: aiohttp.ClientSession, load: Load, text: str) -> None:
    body = {"model": "stub", "messages": [{"role": "user", "content": text}], "stream": True}
    headers = {"authorization": f"Bearer {load.key}"}
    async with session.post(load.url + "/v1/chat/completions", json=body, headers=headers) as response:
        await response.content.readany()
        load.outcomes["ok" if response.status == 200 else f"hang-up {response.status}"] += 1
        response.close()
