"""A roster of a million invented people: seconds to load, bytes, milliseconds a message, and what it takes for known by mistake."""

from __future__ import annotations

import random
import secrets
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.pii.training.values import Values
from gateway.pii.roster.index import build
from gateway.pii.roster.match import Roster
from gateway.pii.roster.people import Person

MESSAGE_CHARACTERS = (200, 1000, 4000)
MESSAGES = 200


@dataclass(frozen=True)
class RosterFigures:
    """`milliseconds` a message by its length, median and 99th percentile; `found` of the people named in the messages."""

    people: int
    load_s: float
    megabytes: float
    bytes_a_person: float
    milliseconds: dict[int, tuple[float, float]]
    named: int
    found: int
    false_per_thousand: float


def invented(count: int, seed: int = 3) -> Iterator[Person]:
    """People with a name of two to three words, a telephone number and a record number."""
    values, chooser = Values(seed), random.Random(seed)
    given = sorted({values.first() for _ in range(20_000)})
    family = sorted({values.last() for _ in range(60_000)})
    for number in range(count):
        middle = f" {chooser.choice(given)}" if chooser.random() < 0.2 else ""
        phone = f"+1 {chooser.randrange(201, 990)} {chooser.randrange(200, 1000)} {chooser.randrange(10_000):04}"
        name = f"{chooser.choice(given)}{middle} {chooser.choice(family)}"
        yield Person((name,), None, {"PHONE_NUMBER": (phone,), "MEDICAL_RECORD": (f"MR-{number:08}",)})


def measure(prose: list[str], count: int = 1_000_000) -> RosterFigures:
    """`prose` is text without the roster's people: the messages are cut from it, and one person is put into each."""
    key = secrets.token_bytes(32)
    everybody = list(invented(count))  # making people up is no part of loading them
    started = time.perf_counter()
    data = build(everybody, key)
    load_s = time.perf_counter() - started
    people = everybody[:MESSAGES]
    running = " ".join(prose)
    milliseconds: dict[int, tuple[float, float]] = {}
    named = found = false = characters = 0
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "roster"
        path.write_bytes(data)
        roster = Roster.open(path, key)
        for length in MESSAGE_CHARACTERS:
            times = []
            for number, person in enumerate(people):
                at = (number * length) % max(1, len(running) - length)
                before, after = running[at : at + length // 2], running[at + length // 2 : at + length]
                text = f"{before}; {person.names[0]} ({person.numbers['MEDICAL_RECORD'][0]}): {after}"
                begun = time.perf_counter()
                spans = roster.find(text)
                times.append(1000 * (time.perf_counter() - begun))
                first, last = len(before) + 2, len(before) + 2 + len(person.names[0])
                named += 1
                found += any(span.start <= first and span.end >= last for span in spans)
                false += sum(span.end - span.start for span in spans if span.end <= len(before) or span.start >= len(text) - len(after))
                characters += len(before) + len(after)
            times.sort()
            milliseconds[length] = (times[len(times) // 2], times[int(len(times) * 0.99)])
    return RosterFigures(
        people=count, load_s=load_s, megabytes=len(data) / 1e6, bytes_a_person=len(data) / count, milliseconds=milliseconds,
        named=named, found=found, false_per_thousand=1000 * false / characters,
    )  # fmt: skip
