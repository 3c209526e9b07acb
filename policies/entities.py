"""The names of the entity types that detection finds without a policy's own recognizers.

Policies stored before a type was added here do not name it, so a new type must not take over values that an older one found. A type
that is taken away or renamed makes the stored policies that protect it refuse their requests (`policies.load.unfound_entities`).
"""

from __future__ import annotations

ENTITIES: dict[str, str] = {
    "PERSON": "a person's name, in Latin or Chinese script",
    "ORGANIZATION": "a company, hospital, school, court or other body",
    "GPE": "a city, state, province or country",
    "LOCATION": "another named place: a river, a region, a building",
    "STREET_ADDRESS": "a postal address or its street part, in Latin or Chinese script",
    "ZIP_CODE": "a postcode",
    "EMAIL_ADDRESS": "an e-mail address",
    "PHONE_NUMBER": "a telephone or fax number",
    "DATE_TIME": "a date, a time, a weekday or a year",
    "DATE_OF_BIRTH": "a date of birth, known by the words beside it",
    "AGE": "a person's age",
    "CREDIT_CARD": "a payment card number (Luhn)",
    "IBAN_CODE": "an international bank account number (mod 97)",
    "US_SSN": "a United States social security number",
    "MEDICAL_RECORD": "a medical record, patient or insurance member number",
    "LICENSE_NUMBER": "a driver's or professional licence number",
    "PASSPORT": "a passport number",
    "IP_ADDRESS": "an IPv4 or IPv6 address",
    "MAC_ADDRESS": "a hardware address",
    "URL": "a web address",
    "SECRET": "a credential: API key, token, private key, password, the login part of a URL",
    "CRYPTO": "a crypto wallet address",
    "CN_RESIDENT_ID": "a Chinese resident identity number (GB 11643, mod 11-2)",
    "CN_MOBILE": "a Chinese mobile number",
    "CN_BANK_CARD": "a Chinese bank card number (Luhn)",
    "CN_PASSPORT": "a Chinese passport number",
    "CN_USCC": "a Chinese unified social credit code (GB 32100)",
    "CN_LICENSE_PLATE": "a Chinese vehicle licence plate",
}
