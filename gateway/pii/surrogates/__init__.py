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

PERSON_ENTITIES = frozenset({"PERSON"})

_GENERATORS: Mapping[str, Generator] = MappingProxyType(
    {
        "ORGANIZATION": ORGANIZATION,
        "GPE": PLACE,
        "LOCATION": PLACE,
        "STREET_ADDRESS": ADDRESS,
        "ZIP_CODE": ZIP,
        "EMAIL_ADDRESS": EMAIL,
        "PHONE_NUMBER": PHONE,
        "DATE_TIME": DATE_TIME,
        "DATE_OF_BIRTH": DATE_TIME,
        "AGE": AGE,
        "CREDIT_CARD": CARD,
        "IBAN_CODE": IBAN,
        "US_SSN": SSN,
        "US_ITIN": ITIN,
        "UK_NHS": NHS,
        "IP_ADDRESS": IP,
        "MAC_ADDRESS": MAC,
        "URL": URL,
        "SECRET": SECRET,
        "CRYPTO": SECRET,
        "CN_RESIDENT_ID": RESIDENT_ID,
        "CN_MOBILE": PHONE,
        "CN_BANK_CARD": CARD,
        "CN_USCC": USCC,
        "CN_LICENSE_PLATE": PLATE,
    }
)


def generator_for(entity: str) -> Generator:
    """The family of an entity type; codes for a type that is not named here."""
    return _GENERATORS.get(entity, CODE)
