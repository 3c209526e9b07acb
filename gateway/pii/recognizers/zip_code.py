"""Postcodes: distinctive national shapes by themselves, plain digits only beside words or places that call for them."""

from __future__ import annotations

from gateway.pii.recognizers.base import Pattern, PatternRecognizer

US_STATES = (
    "AL|AK|AZ|AR|CA|CO|CT|DE|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|NC|ND|OH|OK|OR|PA|RI|SC|SD|TN|TX|UT|"
    "VT|VA|WA|WV|WI|WY|DC|PR|GU|VI|AS|MP|FM|MH|PW"
)

# A postcode's shape, where the lines around it say that it is one: 50674, SE-411 21, 97477-1234, SW1A 1AA, K1A 0B1, 1012 AB, 1000-205
POSTCODE = (
    r"(?:[A-Z]{1,2}[- ])?(?:\d{5}-\d{4}|\d{4,6}(?:-\d{3})?|\d{3} \d{2}|\d{2}-\d{3}|[A-Z]{1,2}\d[A-Z0-9]? ?\d[A-Z]{2}|"
    r"[A-Z]\d[A-Z] ?\d[A-Z]\d|[A-Z]\d[\dW] ?[A-Z\d]{4}|\d{4} ?[A-Z]{2})"
)


class ZipCodeRecognizer(PatternRecognizer):
    entity = "ZIP_CODE"
    patterns = (
        Pattern(
            r"(?i)\b(?:zip|zip ?code|post ?code|postal code|plz|cap|cep|邮编|邮政编码)\b?(?: (?:for|of) [^.,;:\n]{1,60} is)?"
            r"(?: ?(?:is|was|:|#|=|number|no\.?|为|是|：)){0,2} ?['\"]?([A-Z]{0,2}-?\d{4,6}(?:-\d{3,4})?|\d{2,3}[- ]\d{2,3})\b",
            0.85,
            group=1,
        ),
        Pattern(rf"\b(?:{US_STATES}),? +(\d{{5}}(?:-\d{{4}})?)\b", 0.8, group=1),
        Pattern(r"\b\d{5}-\d{4}\b", 0.5, with_context=0.85),
        Pattern(
            r"\b(?:GIR ?0AA|[A-PR-UWYZ](?:[0-9]{1,2}|[A-HK-Y][0-9]|[A-HK-Y][0-9][0-9]|[0-9][A-HJKPS-UW]|"
            r"[A-HK-Y][0-9][ABEHMNPRV-Y]) ?[0-9][ABD-HJLNP-UW-Z]{2})\b",
            0.7,
        ),
        Pattern(r"\b[ABCEGHJ-NPRSTVXY]\d[ABCEGHJ-NPRSTV-Z] ?-?\d[ABCEGHJ-NPRSTV-Z]\d\b", 0.75),
        Pattern(r"\b\d{5}\b", 0.0, with_context=0.6),
        Pattern(r"\b[1-9]\d{3} ?[A-Z]{2}\b", 0.0, with_context=0.6),
        Pattern(r"\b[0-8]\d{5}\b", 0.0, with_context=0.6),
    )
    context_words = ("zip", "zip code", "postcode", "post code", "postal code", "postal", "邮编", "邮政编码", "plz")
    apart_from_digits = True
