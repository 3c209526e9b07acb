"""The matcher: a table of how known people are written, what is left alone, and what must always hold."""

from __future__ import annotations

import random
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.pii.roster.index import RosterIndex, build
from gateway.pii.roster.match import Roster
from gateway.pii.roster.people import Person, read_people

KEY = b"k" * 32
FILE = """name,given_name,middle_name,family_name,aliases,phone,email,mrn,CUSTOMER_NUMBER
Sarah Connor,,,,Sally;T-800 hunter,+1 415 867 5309,sc@cyberdyne.com,MR-4839201,
,José,María,García Márquez,,020 7946 0018,,,KD 77-1234
Jürgen Müller,,,,,,,,
Dr. Siobhan O'Connell,,,,,,,,
王伟,,,,,13812345678,,,
山田 太郎,,,,,,,,
김민수,,,,,,,,
Олег Иванов,,,,,,,,
محمد أحمد,,,,,,,,
"""


def roster(file: str = FILE) -> Roster:
    return Roster(RosterIndex(build(read_people(file.splitlines(keepends=True)), KEY)), KEY)


KNOWN = roster()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I met Sarah Connor.", ["Sarah Connor"]),
        ("SARAH   CONNOR'S car", ["SARAH   CONNOR"]),
        ("sarah connor and Connor, Sarah", ["sarah connor", "Connor, Sarah"]),
        ("S. Connor / Connor, S. called", ["S. Connor", "Connor, S."]),
        ("Connor\tSarah\t42", ["Connor\tSarah"]),
        ('"Connor","Sarah",42', ['Connor","Sarah']),
        ("Sarah\nConnor", ["Sarah\nConnor"]),
        ("john@x.org, sarah_connor, sarah.connor@x.org", ["sarah_connor", "sarah.connor"]),
        ("sally and the T-800 Hunter", ["sally", "T-800 Hunter"]),
        ("jose maria garcia marquez", ["jose maria garcia marquez"]),
        ("José M. García Márquez; García Márquez, José", ["José M. García Márquez", "García Márquez, José"]),
        ("JURGEN MULLER, Juergen Mueller, Ju\u0308rgen Müller", ["JURGEN MULLER", "Juergen Mueller", "Ju\u0308rgen Müller"]),
        ("siobhan oconnell; Siobhan O’Connell", ["siobhan oconnell", "Siobhan O’Connell"]),
        ("我叫王伟，电话13812345678。", ["王伟", "13812345678"]),
        ("山田太郎さん、山田 太郎", ["山田太郎", "山田 太郎"]),
        ("김민수는", ["김민수"]),
        ("ИВАНОВ ОЛЕГ", ["ИВАНОВ ОЛЕГ"]),
        ("مُحَمَّد احمد", ["مُحَمَّد احمد"]),
        ("call 415-867-5309, 14158675309 or +1 (415) 867.5309", ["415-867-5309", "14158675309", "1 (415) 867.5309"]),
        ("+44 20 7946 0018", ["20 7946 0018"]),
        ("MRN4839201? no: mr 4839201", ["mr 4839201"]),
        ("SC@Cyberdyne.com.", ["SC@Cyberdyne.com"]),
        ("customer kd771234", ["kd771234"]),
        ("ＫＤ７７１２３４", ["ＫＤ７７１２３４"]),
        # What is not theirs.
        ("Connor called Sarah Smith, then Sarah. Connor left.", []),
        ("S Connor; Sarahs Connor; Conor Sarah", []),
        ("14158675308, 4158675309a, 24839201", []),
        ("the Maria of Jose", []),
    ],
)
def test_what_is_found(text: str, found: list[str]) -> None:
    assert [text[span.start : span.end] for span in KNOWN.find(text)] == found


def test_each_kind_has_its_entity() -> None:
    text = "Sarah Connor, 415 867 5309, sc@cyberdyne.com, MR-4839201, KD 77-1234"
    entities = ["PERSON", "PHONE_NUMBER", "EMAIL_ADDRESS", "MEDICAL_RECORD", "CUSTOMER_NUMBER"]
    assert [(span.entity, span.score) for span in KNOWN.find(text)] == [(entity, 1.0) for entity in entities]


WORDS = st.text(alphabet=st.sampled_from("abcdeghiklmnoprstuvyzéüßøłşIJKОлегαβ"), min_size=2, max_size=9)
NAMES = st.lists(WORDS, min_size=2, max_size=4)
AROUND = st.text(alphabet=st.sampled_from(" \n.,;:!?()[]«»“”/"), max_size=5)


def folds_to_letters(words: list[str]) -> bool:
    return all(any(ch.isalpha() for ch in unicodedata.normalize("NFKD", word)) for word in words)


@settings(max_examples=200, deadline=None)
@given(words=NAMES.filter(folds_to_letters), before=AROUND, after=AROUND, seed=st.integers(0, 2**16))
def test_a_known_name_is_found_in_any_order_case_and_spelling(words: list[str], before: str, after: str, seed: int) -> None:
    known = Roster(RosterIndex(build([Person((" ".join(words),))], KEY)), KEY)
    chooser = random.Random(seed)
    written = list(words)
    chooser.shuffle(written)
    form = chooser.choice(["NFC", "NFD"])
    name = chooser.choice([" ", ", ", "-", "\u00a0", "  "]).join(unicodedata.normalize(form, word) for word in written)
    name = chooser.choice([str.upper, str.lower, str.title, str])(name)
    text = f"{before or ' '}{name}{after or ' '}"
    covered = {place for span in known.find(text) for place in range(span.start, span.end)}
    letters = {place for place, ch in enumerate(text) if ch.isalnum()}
    assert letters <= covered


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=200))
def test_spans_are_sorted_apart_and_inside_any_text(text: str) -> None:
    end = 0
    for span in KNOWN.find(text):
        assert end <= span.start < span.end <= len(text)
        end = span.end


@settings(max_examples=60, deadline=None)
@given(number=st.text(alphabet="ABC0123456789", min_size=5, max_size=16).filter(lambda n: sum(map(str.isdigit, n)) >= 4))
def test_a_known_number_is_found_however_it_is_grouped(number: str) -> None:
    known = Roster(RosterIndex(build([Person(numbers={"ACCOUNT": (number,)})], KEY)), KEY)
    grouped = "-".join(number[at : at + 4] for at in range(0, len(number), 4))
    for written in (number, number.lower(), grouped):
        text = f"no. {written}, yes"
        assert [text[span.start : span.end] for span in known.find(text)][-1:] == [written]


def test_another_key_finds_nothing() -> None:
    """The hashes of one tenant mean nothing at another."""
    data = build(read_people(FILE.splitlines(keepends=True)), KEY)
    assert Roster(RosterIndex(data), b"j" * 32).find("Sarah Connor, 415 867 5309, 王伟") == []


def test_no_name_stands_in_the_bytes() -> None:
    data = build(read_people(FILE.splitlines(keepends=True)), KEY).lower()
    for word in ("sarah", "connor", "8675309", "王伟", "cyberdyne", "4839201"):
        assert word.encode() not in data
