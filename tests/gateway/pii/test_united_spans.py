"""A span that was united from several findings has the label of one of them; its surrogate must not carry the others through."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from gateway.exchange import ConversationScope, Span
from gateway.pii.keyring import KeyRing
from gateway.pii.pseudonyms import ConversationPseudonyms
from gateway.pii.spans import resolve
from gateway.pii.vault import Vault
from gateway.stores.vault import RedisVaultStore
from policies.schema import Action, EntityRule, Policy

VALUES = {
    "CREDIT_CARD": "4111 1111 1111 1111", "IBAN_CODE": "DE89 3704 0044 0532 0130 00", "CN_RESIDENT_ID": "11010519491231002X",
    "CN_USCC": "91350100M000100Y43", "CN_BANK_CARD": "6222021234567890128", "CRYPTO": "1BoatSLRHtKNngkdXEeobR76b53LETtpyT",
    "EMAIL_ADDRESS": "ann@acme.org", "US_SSN": "536-90-4399", "MAC_ADDRESS": "00:1b:44:11:3a:b7", "IP_ADDRESS": "192.168.17.4",
    "PASSPORT": "C01X00T47", "MEDICAL_RECORD": "4471-882", "LICENSE_NUMBER": "D1234567", "CN_LICENSE_PLATE": "京A12345",
    "CN_MOBILE": "13812345678", "DATE_OF_BIRTH": "12 March 1961", "STREET_ADDRESS": "14 Bell Street", "PHONE_NUMBER": "415-555-0132",
    "URL": "https://acme.org/p", "AGE": "47", "ZIP_CODE": "97201", "DATE_TIME": "12 March 2024", "ORGANIZATION": "Acme Ltd",
    "GPE": "Portland", "LOCATION": "Lake Erie",
}  # fmt: skip
NAMES = ("王小明", "Sarah Connor")


@pytest.mark.parametrize("entity", VALUES)
async def test_the_surrogate_of_a_united_span_holds_no_part_of_the_others(valkey: str, entity: str) -> None:
    text = f"患者{NAMES[0]}，{VALUES[entity]} {NAMES[1]}."
    whole = Span(2, len(text) - 1, "PERSON", 0.5)
    found = Span(text.index(VALUES[entity]), text.index(VALUES[entity]) + len(VALUES[entity]), entity, 0.9)
    policy = Policy(id="p", entities={name: EntityRule(action=Action.SURROGATE) for name in (entity, "PERSON")})
    spans = resolve([whole, found], frozenset())
    ring = KeyRing.generate()
    async with Redis.from_url(valkey) as redis:
        made = ConversationPseudonyms(Vault(RedisVaultStore(redis), ring), ring)
        replaced = await made.replace(ConversationScope("t", "k", entity), [text], [spans], policy)
    for name in (*NAMES, "Sarah", "Connor", "小明"):
        assert name not in replaced.texts[0], replaced.texts[0]
