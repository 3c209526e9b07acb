"""Addresses whole, as they are written in many countries, and what does not belong to them."""

from __future__ import annotations

import time

import pytest

from gateway.exchange import Span
from gateway.pii.address_parts import join_addresses
from gateway.pii.detect import TextDetector
from gateway.pii.spans import resolve
from policies.entities import ENTITIES
from policies.schema import EntityRule, Policy

POLICY = Policy(id="all", entities={entity: EntityRule() for entity in ENTITIES})
WHOLE = [
    "221B Baker Street, London NW1 6XE, UK",
    "350 5th Ave, Floor 21, New York, NY 10118",
    "12 Long Acre\nLeeds\nLS1 4AP",
    "Apt. 4, 17 Orchard Lane, Dover, DE 19901",
    "Lindenstraße 44, 50674 Köln",
    "Hans-Sachs-Allee 7\n96052 Bamberg\nGermany",
    "18 rue de la République, 69002 Lyon",
    "Calle Mayor 21, 3º B, 28013 Madrid",
    "Via Garibaldi 7, 20121 Milano",
    "Rua Augusta, 1200\n1100-053 Lisboa\nPortugal",
    "Villagränd 25\n416 49 Göteborg",
    "ul. Piękna 12, 00-549 Warszawa",
    "Kossuth u. 12., 1055 Budapest",
    "12 Nehru Nagar, Shimla-171001",
    "88 harbour road, flat 3, bristol bs1 5ty",
    "Elm Street 5\\nDover\\nDE 19901",
]


@pytest.fixture(scope="module")
def detector() -> TextDetector:
    made = TextDetector()
    made.load()
    return made


@pytest.mark.parametrize("address", WHOLE)
@pytest.mark.parametrize("frame", ["My address is {}, please note it.", "Ship to:\n{}\n\nThanks", "{}"])
def test_an_address_is_covered_whole(detector: TextDetector, address: str, frame: str) -> None:
    text = frame.format(address)
    start = text.index(address)
    covered = {place for span in detector.detect(text, POLICY) for place in range(span.start, span.end)}
    assert covered >= set(range(start, start + len(address)))


def test_what_follows_an_address_is_no_part_of_it(detector: TextDetector) -> None:
    text = "Envoyez-le au 18 rue de la République, 69002 Lyon. Merci, Amélie Rousseau"
    spans = [(text[span.start : span.end], span.entity) for span in detector.detect(text, POLICY)]
    assert ("18 rue de la République, 69002 Lyon", "STREET_ADDRESS") in spans
    assert ("Amélie Rousseau", "PERSON") in spans


def joined(text: str, *parts: tuple[str, str]) -> list[str]:
    spans = [Span(text.index(part), text.index(part) + len(part), entity, 0.8) for part, entity in parts]
    found = resolve([*spans, *join_addresses(text, spans)], frozenset())
    return [text[span.start : span.end] for span in found]


def test_a_town_taken_for_a_person_joins_where_a_code_follows() -> None:
    text = "1 Oak Street\nClark Fork, ID 83811 and Sue"
    assert joined(text, ("1 Oak Street", "STREET_ADDRESS"), ("Clark Fork", "PERSON"), ("Sue", "PERSON")) == [
        "1 Oak Street\nClark Fork, ID 83811",
        "Sue",
    ]


def test_a_person_below_an_address_does_not_join() -> None:
    text = "1 Oak Street\nSue Clark"
    assert joined(text, ("1 Oak Street", "STREET_ADDRESS"), ("Sue Clark", "PERSON")) == ["1 Oak Street", "Sue Clark"]


def test_two_streets_that_cross_are_one_place() -> None:
    text = "meet me at the corner of Oak Street and Main Street"
    assert joined(text, ("Oak Street", "STREET_ADDRESS"), ("Main Street", "STREET_ADDRESS")) == ["the corner of Oak Street and Main Street"]


def test_many_addresses_join_in_bounded_time() -> None:
    text = "12 Oak Street, " * 20_000 + "a" * 100_000
    spans = [Span(at, at + 13, "STREET_ADDRESS", 0.8) for at in range(0, 15 * 20_000, 15)]
    started = time.process_time()
    assert join_addresses(text, spans)
    assert time.process_time() - started < 20
