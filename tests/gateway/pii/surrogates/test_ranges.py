"""Surrogates pass their own validators and lie in ranges that nobody is given."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from itertools import islice

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.pii.surrogates import generator_for
from gateway.pii.surrogates.draw import Draws
from gateway.pii.surrogates.name_lists import GIVEN_LATIN, SURNAMES_LATIN
from gateway.pii.surrogates.names import initial_letter, name_words, word_candidates
from gateway.pii.surrogates.numbers import iban_valid, luhn_valid, resident_check, uscc_check

KEYS = st.binary(min_size=32, max_size=32)


def surrogates(entity: str, value: str, key: bytes, count: int = 5) -> Iterator[str]:
    family = generator_for(entity)
    for token in islice(family.candidates(value, Draws(key, b"label")), count):
        yield family.render(token, value)


@settings(max_examples=30, deadline=None)
@given(key=KEYS)
@pytest.mark.parametrize("value", ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005", "6222021234567890123"])
def test_cards_pass_luhn_in_the_same_grouping(value, key):
    for card in surrogates("CREDIT_CARD", value, key):
        assert luhn_valid(re.sub(r"\D", "", card))
        assert re.sub(r"\d", "0", card) == re.sub(r"\d", "0", value)


@settings(max_examples=30, deadline=None)
@given(key=KEYS)
@pytest.mark.parametrize("value", ["GB82 WEST 1234 5698 7654 32", "DE89370400440532013000", "FR1420041010050500013M02606"])
def test_ibans_have_valid_check_digits_and_no_bank(value, key):
    for iban in surrogates("IBAN_CODE", value, key):
        compact = iban.replace(" ", "")
        assert iban_valid(compact)
        assert compact[:2] == value[:2]
        assert set(compact[4:8]) <= {"0", "X"}
        assert len(iban) == len(value)


@settings(max_examples=30, deadline=None)
@given(key=KEYS)
def test_social_security_numbers_are_never_issued(key):
    for ssn in surrogates("US_SSN", "078-05-1120", key):
        area, group, serial = ssn.split("-")
        assert area[0] == "9"
        assert 1 <= int(group) <= 49, "groups from 50 on are issued as ITIN"
        assert serial != "0000"


@settings(max_examples=30, deadline=None)
@given(key=KEYS)
def test_chinese_numbers_have_their_check_characters(key):
    for number in surrogates("CN_RESIDENT_ID", "11010519491231002X", key):
        assert number.startswith("99")
        assert resident_check(number[:17]) == number[17]
    for code in surrogates("CN_USCC", "91350100M000100Y43", key):
        assert uscc_check(code[:17]) == code[17]
    for plate in surrogates("CN_LICENSE_PLATE", "京A12345", key):
        assert plate[1] == "I"


@settings(max_examples=30, deadline=None)
@given(key=KEYS)
@pytest.mark.parametrize(
    ("value", "region", "reserved"),
    [
        ("+1 (415) 867-5309", "US", r"\+1 \(\d{3}\) 555-01\d\d"),
        ("415-867-5309", "US", r"\d{3}-555-01\d\d"),
        ("+44 7911 123456", "GB", r"\+44 7700 900\d{3}"),
        ("020 7123 4567", "GB", r"020 7946 0\d{3}|020 7946 \d{4}"),
        ("13812345678", "CN", r"1(4[23]|54|6[03489])\d{8}"),
        ("+33 6 12 34 56 78", "FR", r"\+33 6 39 98 \d\d \d\d"),
        ("+34 612 345 678", "ES", r"\+34 00\d \d{3} \d{3}"),
    ],
)
def test_phones_lie_in_reserved_or_unallocated_ranges(value, region, reserved, key):
    for phone in surrogates("PHONE_NUMBER", value, key):
        assert re.fullmatch(reserved, phone)
        if region in ("CN", "ES"):
            assert not phonenumbers.is_valid_number(phonenumbers.parse(phone, region))


@settings(max_examples=30, deadline=None)
@given(key=KEYS)
def test_network_names_are_reserved(key):
    documentation = [ipaddress.ip_network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]
    for address in surrogates("IP_ADDRESS", "8.8.8.8", key):
        assert any(ipaddress.ip_address(address) in net for net in documentation)
    for address in surrogates("IP_ADDRESS", "2a00:1450:4001::1", key):
        assert ipaddress.ip_address(address) in ipaddress.ip_network("2001:db8::/32")
    for mac in surrogates("MAC_ADDRESS", "00:1A:2B:3C:4D:5E", key):
        assert int(mac[:2], 16) & 0b11 == 0b10
    for mail in surrogates("EMAIL_ADDRESS", "sarah@acme.com", key):
        assert mail.rpartition("@")[2] in {"example.com", "example.net", "example.org"}
    for url in surrogates("URL", "https://u:p@acme.com:8443/a/b?c=1", key):
        assert re.fullmatch(r"https://\w:\w@[a-z]+\.example\.(com|net|org):8443/\w/\w\?\w=\d", url)


@settings(max_examples=60, deadline=None)
@given(
    key=KEYS,
    value=st.sampled_from(["2021-03-14", "3/14/2021", "14.03.1999", "March 3, 2021", "3rd of May 2020", "2021年3月14日", "12 Dec 1999"]),
)
def test_dates_keep_their_format(key, value):
    for date in surrogates("DATE_TIME", value, key):
        shape = r"(?:st|nd|rd|th)\b|\d+|(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
        assert re.sub(shape, "#", date).replace("##", "#") == re.sub(shape, "#", value).replace("##", "#")
        assert date != value


def test_dates_of_a_conversation_keep_their_interval():
    first, second = (next(surrogates("DATE_TIME", value, b"k" * 32)) for value in ("2021-03-01", "2021-03-31"))
    import datetime as dt

    assert (dt.date.fromisoformat(second) - dt.date.fromisoformat(first)).days == 30


@settings(max_examples=60, deadline=None)
@given(key=KEYS, length=st.integers(8, 60))
def test_secrets_keep_alphabet_length_and_prefix(key, length):
    value = "sk-" + ("aB3" * 30)[:length]
    for secret in surrogates("SECRET", value, key):
        assert len(secret) == len(value)
        assert secret.startswith("sk-")
        assert [c.isdigit() for c in secret] == [c.isdigit() for c in value]
        assert [c.isupper() for c in secret] == [c.isupper() for c in value]


@settings(max_examples=60, deadline=None)
@given(key=KEYS)
def test_initials_are_a_permutation_without_fixed_points(key):
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    images = [initial_letter(letter, Draws(key, b"")) for letter in letters]
    assert sorted(images) == list(letters)
    assert all(a != b for a, b in zip(images, letters, strict=True))


@settings(max_examples=60, deadline=None)
@given(key=KEYS, name=st.sampled_from(["Sarah Connor", "Zoë Quist", "Ivan Novak"]))
def test_a_names_surrogate_begins_with_the_letter_that_stands_for_its_initial(key, name):
    for word in name_words(name):
        candidates = list(word_candidates(word, Draws(key, word.canonical.encode())))
        letter = initial_letter(word.text[0], Draws(key, b""))
        pool = GIVEN_LATIN if word.role == "given" else SURNAMES_LATIN
        if any(entry.startswith(letter) for entry in pool):
            assert candidates[0].startswith(letter)
        assert set(pool) <= set(candidates)
        assert not any(entry in candidates[index + 1 :] for index, entry in enumerate(candidates[:8]) if "-" not in entry)


@settings(max_examples=60, deadline=None)
@given(key=KEYS, size=st.integers(1, 500))
def test_a_keyed_order_visits_each_index_once(key, size):
    assert sorted(Draws(key, b"x").order(size)) == list(range(size))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Dr. Sarah Connor", [("Sarah", "given"), ("Connor", "surname")]),
        ("Dr. Connor", [("Connor", "surname")]),
        ("Sarah", [("Sarah", "given")]),
        ("Ludwig van Beethoven", [("Ludwig", "given"), ("Beethoven", "surname")]),
        ("J. Smith's", [("J", "given"), ("Smith", "surname")]),
        ("欧阳娜娜", [("欧阳", "surname"), ("娜娜", "given")]),
        ("张医生", [("张", "surname")]),
        ("محمد علي", None),
        ("Dr.", None),
    ],
)
def test_the_words_of_a_name(name, words):
    found = name_words(name)
    assert (found and [(word.text, word.role) for word in found]) == words
