"""Chat-like text with labels: CSV rows, JSON, code, lower case, names of several cultures, secrets.

Labels stand in the text as [[ENTITY:value]]; every value is invented. Written to be reported on, not tuned on.
"""

from __future__ import annotations

import re

from bench.pii.scoring import Spans

_LABEL = re.compile(r"\[\[([A-Z_]+):(.*?)\]\]", re.DOTALL)

TEXTS = r"""hey can u write a reply to [[PERSON:oluwaseun adeyemi]], he emailed from [[EMAIL_ADDRESS:o.adeyemi@mailbox.org]] abt the invoice
===
my boss [[PERSON:Priya Natarajan]] wants the slides by [[DATE_TIME:Friday]], her cell is [[PHONE_NUMBER:(415) 555-0132]]
===
id,name,email,phone,city
17,[[PERSON:Mei-Ling Chen]],[[EMAIL_ADDRESS:mlchen@corp.example.com]],[[PHONE_NUMBER:+886 2 2345 6789]],[[GPE:Taipei]]
18,[[PERSON:José Antonio García]],[[EMAIL_ADDRESS:jag@correo.example.es]],[[PHONE_NUMBER:+34 612 345 678]],[[GPE:Sevilla]]
19,[[PERSON:Fatima Al-Zahra]],[[EMAIL_ADDRESS:fz@mail.example.ma]],[[PHONE_NUMBER:+212 661-234567]],[[GPE:Casablanca]]
===
{"user": {"name": "[[PERSON:Kwame Boateng]]", "ssn": "[[US_SSN:219-09-9998]]", "card": "[[CREDIT_CARD:5500 0000 0000 0004]]", "active": true}}
===
{"patient": "[[PERSON:Ingrid Sørensen]]", "mrn": "[[MEDICAL_RECORD:MR-4839201]]", "dob": "[[DATE_TIME:1961-04-30]]", "notes": "BP 130/85, metformin 500 mg"}
===
why does this fail?
conn = psycopg2.connect("postgresql://[[SECRET:admin:s3cr3tPa55]]@db.internal:5432/prod")
===
export AWS_ACCESS_KEY_ID=[[SECRET:AKIAIOSFODNN7EXAMPLE]]
export AWS_SECRET_ACCESS_KEY=[[SECRET:wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY]]
===
curl https://api.example.com/v1/items -H "Authorization: Bearer [[SECRET:eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U]]"
===
my openai key is [[SECRET:sk-proj-abcdEFGH1234ijklMNOP5678qrstUVWX]] is it leaked?
===
github token [[SECRET:ghp_16C7e42F292c6912E7710c838347Ae178B4a]] stopped working
===
password: [[SECRET:Tr0ub4dor&3]] user: jdoe
===
i live at [[STREET_ADDRESS:742 evergreen terrace, springfield]] and my zip is [[ZIP_CODE:97477]]
===
ship to [[PERSON:Søren Kjær]], [[STREET_ADDRESS:Vesterbrogade 12, 2. tv, 1620 København V]], [[GPE:Denmark]]
===
meine adresse: [[STREET_ADDRESS:Lindenstraße 44, 50674 Köln]]. Danke, [[PERSON:Jürgen Weiß]]
===
Adresse de livraison : [[STREET_ADDRESS:18 rue de la République, 69002 Lyon]]. [[PERSON:Amélie Rousseau]]
===
patient [[PERSON:nguyen thi lan]] is [[AGE:63]] years old, seen on [[DATE_TIME:03/14/2024]] at [[ORGANIZATION:Mercy General Hospital]]
===
Subject: Re: contract
Hi [[PERSON:Thabo]],
please send the signed copy to [[PERSON:Anneke de Vries]] ([[EMAIL_ADDRESS:a.devries@kantoor.example.nl]]).
Best, [[PERSON:Siobhan O'Connell]]
===
SELECT * FROM customers WHERE last_name = '[[PERSON:Kowalczyk]]' AND phone = '[[PHONE_NUMBER:+48 601 234 567]]';
===
Traceback (most recent call last):
  File "main.py", line 42, in <module>
    raise ValueError("bad card [[CREDIT_CARD:4539578763621486]]")
===
2024-05-01 12:00:03 INFO login ok user=[[EMAIL_ADDRESS:hana.novakova@firma.example.cz]] ip=[[IP_ADDRESS:203.0.113.77]] mac=[[MAC_ADDRESS:3c:22:fb:9a:01:7e]]
===
my iban is [[IBAN_CODE:NL91 ABNA 0417 1643 00]] pls send the 50 eur there
===
send 0.2 btc to [[CRYPTO:1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2]] or eth [[CRYPTO:0x52908400098527886E0F7030069857D2E4169EE7]]
===
passport number is [[PASSPORT:533380006]], name [[PERSON:Ayşe Yılmaz]], born [[DATE_TIME:12 March 1988]]
===
driver's license [[LICENSE_NUMBER:D1234567]] expired, can i renew online in [[GPE:California]]?
===
summarize: [[PERSON:Dmitri Volkov]] and [[PERSON:Elena Petrova]] met at [[ORGANIZATION:Deloitte]] in [[GPE:Prague]] in [[DATE_TIME:2019]].
===
call me back on [[PHONE_NUMBER:07700 900123]] or [[PHONE_NUMBER:020 7946 0018]] after [[DATE_TIME:6pm]]
===
i'm [[PERSON:rahul]], [[AGE:29]], from [[GPE:pune]]. can you fix my cv
===
[[PERSON:Dr. Wanjiru Kamau]]'s patient [[PERSON:Mr. Otieno]] needs a refill
===
My grandma [[PERSON:María del Carmen Ruiz]] turned [[AGE:91]] on [[DATE_TIME:June 5th]]!
===
Our office moved from [[STREET_ADDRESS:1600 Amphitheatre Parkway, Mountain View, CA 94043]] to [[STREET_ADDRESS:350 5th Ave, Floor 21, New York, NY 10118]].
===
-----BEGIN RSA PRIVATE KEY-----
not a whole key, only the header is here
===
what's the capital of [[GPE:Mongolia]] and how far is it from [[GPE:Beijing]]?
===
git commit -m "fix off-by-one in window()" && git push origin main
===
def mean(values: list[float]) -> float:
    return sum(values) / len(values)
===
explain gradient descent like i'm five
===
SKU 48213-77, qty 12, price 19.99, total 239.88, order #100234
===
The meeting notes: discussed Q3 roadmap, budget 1.2M, hiring freeze until further notice.
===
Version 10.0.19045 Build 4291 installed; 3 of 12 updates pending.
===
Write a haiku about autumn rain on a tin roof.
===
Convert 1234567890 seconds to days.
===
React vs Vue vs Svelte, which one should I pick for a dashboard?""".split("\n===\n")


def sentences() -> list[tuple[str, Spans]]:
    made = []
    for source in TEXTS:
        text, spans, position = "", [], 0
        for match in _LABEL.finditer(source):
            text += source[position : match.start()]
            spans.append((len(text), len(text) + len(match.group(2)), match.group(1)))
            text += match.group(2)
            position = match.end()
        made.append((text + source[position:], spans))
    return made
