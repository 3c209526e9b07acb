"""The list of every built-in recognizer."""

from __future__ import annotations

from gateway.pii.recognizers.age import AgeRecognizer
from gateway.pii.recognizers.base import Recognizer
from gateway.pii.recognizers.chinese_address import ChineseAddressRecognizer
from gateway.pii.recognizers.chinese_numbers import (
    CnBankCardRecognizer,
    CnLicensePlateRecognizer,
    CnMobileRecognizer,
    CnResidentIdRecognizer,
    CnUsccRecognizer,
)
from gateway.pii.recognizers.chinese_organization import ChineseOrganizationRecognizer
from gateway.pii.recognizers.credit_card import CreditCardRecognizer
from gateway.pii.recognizers.crypto import CryptoRecognizer
from gateway.pii.recognizers.date_time import DateOfBirthRecognizer, DateTimeRecognizer
from gateway.pii.recognizers.email import EmailRecognizer
from gateway.pii.recognizers.family_names import FamilyNameRecognizer
from gateway.pii.recognizers.given_names import GivenNameRecognizer
from gateway.pii.recognizers.iban import IbanRecognizer
from gateway.pii.recognizers.licence import LicenceRecognizer
from gateway.pii.recognizers.medical_record import MedicalRecordRecognizer, NhsNumberRecognizer
from gateway.pii.recognizers.names import ChinesePersonRecognizer, ModelNamesRecognizer, TitledPersonRecognizer
from gateway.pii.recognizers.network import IpAddressRecognizer, MacAddressRecognizer
from gateway.pii.recognizers.passport import CnPassportRecognizer, PassportRecognizer
from gateway.pii.recognizers.phone import PhoneRecognizer
from gateway.pii.recognizers.places import PlaceRecognizer
from gateway.pii.recognizers.secret import SecretRecognizer
from gateway.pii.recognizers.street_address import StreetAddressRecognizer
from gateway.pii.recognizers.url import UrlRecognizer
from gateway.pii.recognizers.us_ssn import UsSsnRecognizer
from gateway.pii.recognizers.zip_code import ZipCodeRecognizer

BUILT_IN: tuple[type[Recognizer], ...] = (
    ModelNamesRecognizer,
    TitledPersonRecognizer,
    GivenNameRecognizer,
    FamilyNameRecognizer,
    PlaceRecognizer,
    ChinesePersonRecognizer,
    StreetAddressRecognizer,
    ChineseAddressRecognizer,
    ChineseOrganizationRecognizer,
    ZipCodeRecognizer,
    EmailRecognizer,
    PhoneRecognizer,
    DateTimeRecognizer,
    DateOfBirthRecognizer,
    AgeRecognizer,
    CreditCardRecognizer,
    IbanRecognizer,
    UsSsnRecognizer,
    MedicalRecordRecognizer,
    NhsNumberRecognizer,
    LicenceRecognizer,
    PassportRecognizer,
    CnPassportRecognizer,
    IpAddressRecognizer,
    MacAddressRecognizer,
    UrlRecognizer,
    SecretRecognizer,
    CryptoRecognizer,
    CnResidentIdRecognizer,
    CnMobileRecognizer,
    CnBankCardRecognizer,
    CnUsccRecognizer,
    CnLicensePlateRecognizer,
)


def built_in() -> list[Recognizer]:
    """One instance of each; their expressions compile here and their lists are read (less than a second)."""
    return [recognizer() for recognizer in BUILT_IN]
