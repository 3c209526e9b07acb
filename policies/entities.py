"""The names of the entity types that detection finds without a policy's own recognizers."""

from __future__ import annotations

ENTITIES: dict[str, str] = {
    "PERSON": "a person's name",
    "ORGANIZATION": "a company, hospital, court or other body",
    "GPE": "a city, state or country",
    "LOCATION": "another named place",
    "STREET_ADDRESS": "a street address",
    "ZIP_CODE": "a postcode",
    "EMAIL_ADDRESS": "an e-mail address",
    "PHONE_NUMBER": "a telephone or fax number",
    "DATE_TIME": "a date or time",
    "DATE_OF_BIRTH": "a date of birth",
    "AGE": "an age",
    "CREDIT_CARD": "a payment card number",
    "IBAN_CODE": "an international bank account number",
    "US_SSN": "a United States social security number",
    "MEDICAL_RECORD": "a medical record number",
    "LICENSE_NUMBER": "a licence or certificate number",
    "IP_ADDRESS": "an IP address",
    "MAC_ADDRESS": "a hardware address",
    "URL": "a URL",
    "SECRET": "a credential: API key, token, private key",
    "CRYPTO": "a crypto wallet address",
    "PASSPORT": "a passport number",
    "CN_RESIDENT_ID": "a Chinese resident identity number",
    "CN_BANK_CARD": "a Chinese bank card number",
    "CN_CREDIT_CODE": "a Chinese unified social credit code",
    "CN_LICENSE_PLATE": "a Chinese licence plate",
}
