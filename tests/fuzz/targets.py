"""What a fuzzer calls: each takes bytes, and fails where a promise does not hold. An error of the module's own kind is right."""

from __future__ import annotations

from itertools import pairwise

from gateway.backends.sse_reader import SseReader
from gateway.errors import UpstreamFailed
from gateway.exchange import IssuedValue
from gateway.pii.restore import Lexicon
from gateway.pii.stream_restore import StreamRestorer, restore
from policies.load import load_policy, to_yaml
from policies.strict_yaml import PolicyError

LEXICON = Lexicon(
    [
        IssuedValue("Xenia Barlowe", "Sarah Connor", "PERSON", "surrogate"),
        IssuedValue("xenia.barlowe@example.net", "sarah@cyberdyne.com", "EMAIL_ADDRESS", "surrogate"),
        IssuedValue("<PERSON_1>", "王小明", "PERSON", "surrogate"),
        IssuedValue("(201) 555-0118", "(415) 555-2671", "PHONE_NUMBER", "surrogate"),
    ]
)


def cuts(data: bytes) -> tuple[bytes, list[int]]:
    """The first byte says how many cut points follow it; the rest is the material."""
    count = data[0] % 8 if data else 0
    places, rest = data[1 : 1 + count], data[1 + count :]
    return rest, sorted(place * max(len(rest), 1) // 256 for place in places)


def pieces(material: bytes | str, places: list[int]) -> list:
    edges = [0, *places, len(material)]
    return [material[start:end] for start, end in pairwise(edges)]


def sse(data: bytes) -> None:
    """The events do not depend on where the network cut the bytes, and none is longer than the limit."""
    material, places = cuts(data)
    outcomes = []
    for parts in ([material], pieces(material, places), [material[at : at + 1] for at in range(len(material))]):
        reader = SseReader(max_event_bytes=64)
        events: list[bytes] = []
        try:
            for part in (*parts, b"\n\n"):  # what an unfinished event holds is compared too
                events += reader.feed(part)
            outcomes.append(events)
        except UpstreamFailed:
            outcomes.append("too large")
    assert all(len(event) <= 64 + event.count(b"\n") for each in outcomes if each != "too large" for event in each)
    if "too large" not in outcomes:  # where an event outgrows the limit is a matter of the cuts; that it does is not hidden
        assert outcomes[0] == outcomes[1] == outcomes[2]


def restoring(data: bytes) -> None:
    """A restored text does not depend on how the answer was cut, and text without a stand-in comes back as it is."""
    material, places = cuts(data)
    text = material.decode("utf-8", "replace")
    whole = restore(text, LEXICON)
    restorer = StreamRestorer(LEXICON)
    streamed = [piece for part in pieces(text, [at * len(text) // max(len(material), 1) for at in places]) for piece in restorer.feed(part)]
    assert "".join(piece.text for piece in streamed + restorer.finish()) == whole
    folded = text.casefold()
    if not any(word in folded for word in ("xenia", "barlowe", "person", "example", "555", "王", "小")):
        assert whole == text


def policy(data: bytes) -> None:
    """A policy loads, or is a PolicyError; what loads survives being written and read."""
    text = data.decode("utf-8", "replace")
    try:
        loaded = load_policy(text)
    except PolicyError:
        return
    if loaded.extends is None:
        assert load_policy(to_yaml(loaded)) == loaded


TARGETS = {"sse": sse, "restoring": restoring, "policy": policy}
