"""Which family of surrogates serves which entity type."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway.pii.surrogates.base import Generator
from gateway.pii.surrogates.dates import AGE, DATE_TIME
from gateway.pii.surrogates.generic import CODE, SECRET
from gateway.pii.surrogates.network import EMAIL, IP, MAC, URL
from gateway.pii.surrogates.numbers import CARD, IBAN, ITIN, NHS, PLATE, RESIDENT_ID, SSN, USCC
from gateway.pii.surrogates.phones import PHONE
from gateway.pii.surrogates.places import ADDRESS, ORGANIZATION, PLACE, ZIP

PERSON_ENTITIES = frozenset({"PERSON", "NAME", "CN_PERSON", "PATIENT", "DOCTOR"})

_GENERATORS: Mapping[str, Generator] = MappingProxyType(
    {
        "CREDIT_CARD": CARD, "BANK_CARD": CARD, "CN_BANK_CARD": CARD, "IBAN_CODE": IBAN, "IBAN": IBAN,
        "US_SSN": SSN, "US_ITIN": ITIN, "UK_NHS": NHS,
        "CN_RESIDENT_ID": RESIDENT_ID, "CN_ID_CARD": RESIDENT_ID, "CN_ID": RESIDENT_ID,
        "CN_USCC": USCC, "CN_SOCIAL_CREDIT_CODE": USCC, "CN_UNIFIED_SOCIAL_CREDIT_CODE": USCC,
        "CN_LICENSE_PLATE": PLATE, "CN_LICENCE_PLATE": PLATE, "LICENSE_PLATE": PLATE,
        "PHONE_NUMBER": PHONE, "PHONE": PHONE, "CN_PHONE": PHONE, "CN_MOBILE": PHONE,
        "EMAIL_ADDRESS": EMAIL, "EMAIL": EMAIL, "IP_ADDRESS": IP, "MAC_ADDRESS": MAC, "URL": URL, "URL_CREDENTIALS": URL,
        "DATE_TIME": DATE_TIME, "DATE": DATE_TIME, "DATE_OF_BIRTH": DATE_TIME, "AGE": AGE,
        "STREET_ADDRESS": ADDRESS, "ADDRESS": ADDRESS, "GPE": PLACE, "LOCATION": PLACE, "FACILITY": PLACE,
        "ORGANIZATION": ORGANIZATION, "ORG": ORGANIZATION,
        "ZIP_CODE": ZIP, "POSTCODE": ZIP, "POSTAL_CODE": ZIP,
        "API_KEY": SECRET, "SECRET": SECRET, "JWT": SECRET, "PRIVATE_KEY": SECRET, "PASSWORD": SECRET, "AWS_ACCESS_KEY": SECRET,
        "AWS_SECRET_KEY": SECRET, "CRYPTO": SECRET, "CRYPTO_WALLET": SECRET,
    }
)  # fmt: skip


def generator_for(entity: str) -> Generator:
    """The family of an entity type; codes for a type that is not named here."""
    return _GENERATORS.get(entity, CODE)
