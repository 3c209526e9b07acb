"""Draws values of each slot: names, addresses, organisations of many countries, from Faker's public lists and own grammars.

Faker (MIT licence) gives the lists; every format (how an address is laid out, how a name is shortened) is this file's.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache

from faker import Faker

LOCALES = (
    "en_US", "en_GB", "en_US", "en_GB", "en_IN", "en_AU", "en_CA", "en_IE", "de_DE", "de_AT", "de_CH", "fr_FR", "fr_CA", "es_ES", "es_MX", "it_IT", "nl_NL", "nl_BE",
    "pt_BR", "pt_PT", "sv_SE", "no_NO", "da_DK", "fi_FI", "pl_PL", "cs_CZ", "hu_HU", "ro_RO", "hr_HR", "tr_TR", "id_ID", "sl_SI", "sk_SK",
)  # fmt: skip
_PINYIN_LAST = ["Wang", "Li", "Zhang", "Liu", "Chen", "Yang", "Huang", "Zhao", "Wu", "Zhou", "Xu", "Sun", "Ma", "Zhu", "Hu", "Guo", "He", "Lin", "Gao", "Luo", "Zheng", "Liang", "Xie", "Song", "Tang", "Deng", "Feng", "Cao", "Peng", "Xiao", "Tian", "Dong", "Pan", "Yuan", "Cai", "Jiang", "Yu", "Du", "Ye", "Cheng", "Wei", "Su", "Lu", "Ding", "Ren", "Yao", "Shen", "Jin", "Tan", "Fan"]
_PINYIN_FIRST = ["Wei", "Fang", "Na", "Xiuying", "Min", "Jing", "Lei", "Qiang", "Yang", "Yan", "Jie", "Juan", "Tao", "Ming", "Chao", "Xia", "Ping", "Gang", "Hui", "Lan", "Yuxuan", "Zihan", "Haoran", "Ziyi", "Mengyao", "Jiaqi", "Xinyi", "Chenxi", "Yichen", "Junjie", "Bo", "Kai", "Ting", "Xin", "Hao", "Rui", "Yifan", "Xiaoming", "Xiaoling", "Jun"]
_ARABIC_FIRST = ["Mohammed", "Ahmed", "Omar", "Ali", "Hassan", "Fatima", "Aisha", "Khadija", "Yusuf", "Ibrahim", "Khalid", "Layla", "Mariam", "Zainab", "Tariq", "Samir", "Nadia", "Amina", "Salma", "Rania", "Karim", "Bilal", "Hamza", "Noor", "Faisal"]
_ARABIC_LAST = ["Al-Farsi", "Hussein", "Rahman", "Al-Sayed", "Haddad", "Mansour", "Abbas", "Nasser", "Khoury", "Aziz", "Saleh", "Farouk", "Hamdan", "Qureshi", "Siddiqui", "Malik", "Shah", "Al-Masri", "bin", "Rashid", "El-Amin", "Darwish", "Najjar", "Sultan", "Ansari"]
_AFRICAN_FIRST = ["Chinedu", "Ngozi", "Adaeze", "Kwame", "Kofi", "Ama", "Abena", "Thabo", "Nomsa", "Sipho", "Zanele", "Tunde", "Folake", "Ayodele", "Wanjiru", "Kamau", "Otieno", "Achieng", "Amara", "Oluwaseun", "Temitope", "Chiamaka", "Lerato", "Mpho", "Tendai"]
_AFRICAN_LAST = ["Okafor", "Adeyemi", "Nkosi", "Mensah", "Owusu", "Dlamini", "Mwangi", "Odhiambo", "Kariuki", "Eze", "Balogun", "Abiola", "Moyo", "Ndlovu", "Okonkwo", "Achebe", "Asante", "Boateng", "Diallo", "Traore", "Keita", "Banda", "Phiri", "Chukwu"]
_JAPAN_KOREA = ["Haruto Tanaka", "Yuki Sato", "Sakura Suzuki", "Kenji Watanabe", "Aiko Yamamoto", "Hiroshi Nakamura", "Ren Kobayashi", "Mei Ito", "Min-jun Kim", "Seo-yeon Park", "Ji-hoon Lee", "Hye-jin Choi", "Soo-min Jung", "Dong-hyun Kang", "Nguyen Van Anh", "Tran Thi Mai", "Le Minh Duc", "Pham Quoc Bao", "Somchai Srisuk", "Anong Chaiyasit", "Priya Raghunathan", "Arjun Venkataraman", "Siti Nurhaliza", "Budi Santoso"]
_KNOWN_ORGS = ["Google", "Microsoft", "Apple", "Amazon", "IBM", "Intel", "Nvidia", "Oracle", "Cisco", "Siemens", "Bosch", "BMW", "Volkswagen", "Toyota", "Honda", "Samsung", "LG", "Sony", "Nokia", "Ericsson", "Philips", "Shell", "BP", "ExxonMobil", "Chevron", "Walmart", "Target", "Costco", "Tesco", "Carrefour", "IKEA", "Nestlé", "Unilever", "Pfizer", "Novartis", "Roche", "Merck", "Bayer", "AstraZeneca", "HSBC", "Barclays", "Citibank", "JPMorgan Chase", "Goldman Sachs", "Morgan Stanley", "Deutsche Bank", "UBS", "Credit Suisse", "Santander", "BNP Paribas", "Wells Fargo", "Bank of America", "Visa", "Mastercard", "PayPal", "Stripe", "Uber", "Lyft", "Airbnb", "Netflix", "Spotify", "Twitter", "Facebook", "LinkedIn", "Dropbox", "Salesforce", "SAP", "Accenture", "Deloitte", "KPMG", "PwC", "McKinsey", "Boeing", "Airbus", "Lufthansa", "Delta Air Lines", "United Airlines", "FedEx", "UPS", "DHL", "Verizon", "AT&T", "Vodafone", "Comcast", "Harvard University", "Stanford", "MIT", "Oxford University", "NASA", "FBI", "CIA", "WHO", "UNICEF", "Red Cross", "Greenpeace", "BBC", "CNN", "Reuters", "The New York Times", "The Guardian", "Mayo Clinic", "Kaiser Permanente", "Aetna", "Blue Cross", "Starbucks", "McDonald's", "Nike", "Adidas", "Zara", "H&M", "Coca-Cola", "PepsiCo", "Tesla", "Ford", "General Motors", "General Electric", "Hewlett-Packard", "Dell", "Lenovo", "Huawei", "Tencent", "Alibaba", "Baidu", "Infosys", "Tata", "Reliance", "Procter & Gamble", "Johnson & Johnson", "L'Oréal", "LVMH", "Ferrari", "Fiat", "Renault", "Peugeot", "Michelin", "Real Madrid", "Manchester United", "Chicago Bulls", "Republican Party", "Labour Party", "European Union", "United Nations", "World Bank"]
_ORG_KINDS = ["Hospital", "General Hospital", "Medical Center", "Clinic", "University", "College", "High School", "Elementary School", "Bank", "Credit Union", "Insurance", "Law Firm", "Foundation", "Institute", "Museum", "Church", "Airlines", "Hotel", "Restaurant", "Bakery", "Pharmacy", "Theatre", "Library", "Police Department", "City Council", "Chamber of Commerce", "Association", "Consulting", "Logistics", "Records", "Studios", "Motors", "Foods", "Pictures", "Orchestra", "Football Club"]
_ORG_ENDS = ["Inc", "Inc.", "LLC", "Ltd", "Ltd.", "Corp", "Corp.", "Corporation", "Company", "Group", "Holdings", "Partners", "& Co", "& Sons", "and Sons", "GmbH", "AG", "S.A.", "SpA", "B.V.", "AB", "Oy", "Technologies", "Systems", "Solutions", "Labs", "Industries", "International", "Enterprises", "Media", "Energy", "Capital", "Ventures", "Software", "Networks"]
_STREET_KINDS = ["Street", "St", "St.", "Avenue", "Ave", "Ave.", "Road", "Rd", "Rd.", "Boulevard", "Blvd", "Drive", "Dr", "Dr.", "Lane", "Ln", "Court", "Ct", "Place", "Pl", "Square", "Terrace", "Way", "Circle", "Crescent", "Highway", "Parkway", "Trail", "Close", "Grove", "Gardens", "Mews", "Hill", "Row", "Park", "View"]
_COUNTRIES = ["United States", "USA", "US", "U.S.A.", "United Kingdom", "UK", "England", "Scotland", "Wales", "Ireland", "Germany", "France", "Spain", "Italy", "Netherlands", "The Netherlands", "Belgium", "Switzerland", "Austria", "Sweden", "Norway", "Denmark", "Finland", "Iceland", "Poland", "Czech Republic", "Hungary", "Romania", "Croatia", "Slovenia", "Slovakia", "Greece", "Turkey", "Portugal", "Brazil", "Mexico", "Argentina", "Chile", "Peru", "Colombia", "Uruguay", "Canada", "Australia", "New Zealand", "South Africa", "Nigeria", "Kenya", "Ghana", "Egypt", "Morocco", "Tunisia", "Israel", "Jordan", "Lebanon", "Saudi Arabia", "United Arab Emirates", "India", "Pakistan", "Bangladesh", "Sri Lanka", "Nepal", "China", "Japan", "South Korea", "Vietnam", "Thailand", "Indonesia", "Malaysia", "Singapore", "Philippines", "Taiwan", "Hong Kong", "Russia", "Ukraine", "Estonia", "Latvia", "Lithuania", "Serbia", "Bulgaria", "Cyprus", "Malta", "Luxembourg", "Cuba", "Jamaica", "Ethiopia", "Tanzania", "Uganda", "Zimbabwe", "Greenland"]
NATIONALITIES = ["American", "British", "English", "Scottish", "Irish", "German", "French", "Spanish", "Italian", "Dutch", "Belgian", "Swiss", "Austrian", "Swedish", "Norwegian", "Danish", "Finnish", "Polish", "Czech", "Hungarian", "Romanian", "Greek", "Turkish", "Portuguese", "Brazilian", "Mexican", "Canadian", "Australian", "Indian", "Pakistani", "Chinese", "Japanese", "Korean", "Vietnamese", "Thai", "Russian", "Ukrainian", "Nigerian", "Kenyan", "Egyptian", "Moroccan", "Israeli", "Iranian", "Muslim", "Christian", "Jewish", "Hindu", "Buddhist", "Catholic"]
_MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


@lru_cache
def _faker(locale: str) -> Faker:
    return Faker(locale)


class Values:
    """Draws slot values with one seeded generator; the same seed gives the same values."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        for locale in set(LOCALES):
            _faker(locale).seed_instance(seed)

    def _pick(self, options: list[str]) -> str:
        return self.random.choice(options)

    def _local(self) -> Faker:
        return _faker(self.random.choice(LOCALES))

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    # People

    def first(self) -> str:
        draw = self.random.random()
        if draw < 0.08:
            return self._pick(_PINYIN_FIRST)
        if draw < 0.14:
            return self._pick(_ARABIC_FIRST)
        if draw < 0.19:
            return self._pick(_AFRICAN_FIRST)
        return self._local().first_name()

    def last(self) -> str:
        draw = self.random.random()
        if draw < 0.06:
            return self._pick(_PINYIN_LAST)
        if draw < 0.11:
            return self._pick(_ARABIC_LAST)
        if draw < 0.16:
            return self._pick(_AFRICAN_LAST)
        return self._local().last_name()

    def person(self) -> str:
        draw = self.random.random()
        if draw < 0.05:
            return self._pick(_JAPAN_KOREA)
        if draw < 0.10:
            return (
                f"{self._pick(_PINYIN_FIRST)} {self._pick(_PINYIN_LAST)}"
                if self.chance(0.5)
                else f"{self._pick(_PINYIN_LAST)} {self._pick(_PINYIN_FIRST)}"
            )
        if draw < 0.15:
            return f"{self._pick(_ARABIC_FIRST)} {self._pick(_ARABIC_LAST)}"
        if draw < 0.20:
            return f"{self._pick(_AFRICAN_FIRST)} {self._pick(_AFRICAN_LAST)}"
        local = self._local()
        first, last = local.first_name(), local.last_name()
        style = self.random.random()
        if style < 0.72:
            return f"{first} {last}"
        if style < 0.80:
            return f"{first} {self._pick(list('ABCDEFGHJKLMNPRSTW'))}. {last}"
        if style < 0.84:
            return f"{first[0]}. {last}"
        if style < 0.88:
            return f"{last}, {first}"
        if style < 0.92:
            return f"{first} {local.first_name()} {last}"
        if style < 0.96:
            return f"{first} {last}-{local.last_name()}"
        return f"{first} {last} {self._pick(['Jr.', 'Sr.', 'III', 'II', 'PhD'])}" if self.chance(0.5) else f"{first} {last}"

    def title(self) -> str:
        return self._pick(["Mr.", "Mrs.", "Ms.", "Dr.", "Miss", "Prof.", "Mr", "Mrs", "Ms", "Dr", "Sir", "Professor", "Captain", "Judge"])

    def job(self) -> str:
        return self._local().job() if self.chance(0.2) else _faker("en_US").job()

    def nationality(self) -> str:
        return self._pick(NATIONALITIES)

    # Organisations and places

    def org(self) -> str:
        draw = self.random.random()
        if draw < 0.25:
            return self._pick(_KNOWN_ORGS)
        if draw < 0.50:
            return self._local().company()
        if draw < 0.65:
            return f"{self._pick([self.city(), self.last(), 'St. ' + self.first(), 'Royal ' + self.city(), 'First National'])} {self._pick(_ORG_KINDS)}"
        if draw < 0.72:
            return f"{self._pick(['University', 'Bank', 'Church', 'Museum', 'City', 'Friends', 'Institute'])} of {self.city()}"
        if draw < 0.88:
            return f"{self.last()} {self._pick(_ORG_ENDS)}"
        if draw < 0.94:
            return "".join(self.random.choice("ABCDEFGHIKLMNOPRSTUVW") for _ in range(self.random.randint(3, 4)))
        return f"{self.last()}, {self.last()} and {self.last()}"

    def city(self) -> str:
        return self._local().city()

    def country(self) -> str:
        return self._pick(_COUNTRIES) if self.chance(0.7) else _faker("en_US").country()

    def state(self) -> str:
        return (
            _faker(self._pick(["en_US", "en_US", "en_US", "en_AU", "de_DE", "en_IN"])).state()
            if self.chance(0.9)
            else self._pick(["Ontario", "Bavaria", "Queensland", "Kent", "Yorkshire", "Tuscany"])
        )

    def state_abbr(self) -> str:
        return _faker("en_US").state_abbr()

    def zip(self) -> str:
        local = _faker(
            self._pick(["en_US", "en_US", "en_US", "en_GB", "en_CA", "de_DE", "nl_NL", "sv_SE", "pl_PL", "pt_BR", "en_AU", "da_DK"])
        )
        return local.postcode()

    # Addresses

    def number(self) -> str:
        number = str(self.random.choice([self.random.randint(1, 99), self.random.randint(1, 999), self.random.randint(1000, 19999)]))
        return number + (self._pick(["A", "B", "C", "a", "b", "/2", "-4"]) if self.chance(0.06) else "")

    def street(self) -> str:
        draw = self.random.random()
        if draw < 0.45:
            name = self._pick(
                [
                    self.last(),
                    self.first(),
                    self.last(),
                    f"{self.last()} {self.last()}",
                    self._pick(
                        [
                            "Main",
                            "High",
                            "Church",
                            "Park",
                            "Station",
                            "Oak",
                            "Maple",
                            "Cedar",
                            "Elm",
                            "Lake",
                            "Hill",
                            "Mill",
                            "King",
                            "Queen",
                            "Victoria",
                            "Green",
                            "Sunset",
                            "Washington",
                            "River",
                            "Spring",
                            "2nd",
                            "5th",
                            "42nd",
                            "West",
                            "North",
                        ]
                    ),
                ]
            )
            direction = self._pick(["N", "S", "E.", "West", "North", "SW", "NE"]) + " " if self.chance(0.12) else ""
            return f"{direction}{name} {self._pick(_STREET_KINDS)}"
        if draw < 0.52:
            return self._pick(
                [
                    "Broadway",
                    "The Mall",
                    "The Avenue",
                    f"{self.last()} Rd",
                    f"Highway {self.random.randint(1, 99)}",
                    f"Rua {self.last()}",
                    f"ul. {self.last()}",
                    f"Calle {self.last()}",
                    f"Via {self.last()}",
                    f"rue de {self.city()}",
                    f"Avenida {self.last()}",
                    f"Rue {self.last()}",
                    f"Piazza {self.last()}",
                ]
            )
        if draw < 0.62:
            return self.last() + self._pick(
                [
                    "straße",
                    "strasse",
                    "weg",
                    "gasse",
                    "allee",
                    "platz",
                    "straat",
                    "laan",
                    "gatan",
                    "vägen",
                    "vej",
                    "gade",
                    "gata",
                    "veien",
                    "katu",
                    "tie",
                    "utca",
                    "str.",
                    " utca",
                    " út",
                    " u.",
                    "kade",
                    "plein",
                    "gränd",
                    "stigen",
                    "bakken",
                    "vænget",
                ]
            )
        return self._local().street_name()

    def unit(self) -> str:
        number = self.random.randint(1, 980)
        return self._pick(
            [
                f"Apt. {number}",
                f"Apt {number}",
                f"Suite {number}",
                f"Unit {number}",
                f"#{number}",
                f"Flat {number % 40 + 1}",
                f"Floor {number % 30 + 1}",
                f"Room {number}",
                f"Apartment {number}",
                f"Ste {number}",
                f"PO Box {number}",
                f"{number % 9 + 1}{self._pick(['st', 'nd', 'rd', 'th'])} floor",
                f"Building {number % 9}",
                f"Studio {number % 99}",
            ]
        )

    def street_line(self) -> str:
        return f"{self.number()} {self.street()}" if self.chance(0.72) else f"{self.street()}{self._pick([' ', ' ', ', '])}{self.number()}"

    def address(self) -> str:
        """A random layout: street and number in either order, then some of unit, place, region, postcode, country."""
        if self.chance(0.25):
            address = self._local().address()
            return address.replace("\n", self._pick([", ", "\n", " ", ", "]))
        parts = [self.street_line()]
        if self.chance(0.35):
            parts.append(self.unit())
        place = self.random.random()
        if place < 0.12:
            pass
        elif place < 0.32:
            parts.append(f"{self.city()}, {self.state_abbr()} {self.zip()}")
        elif place < 0.42:
            parts.extend([self.city(), f"{self.state_abbr() if self.chance(0.5) else self.state()} {self.zip()}"])
        elif place < 0.58:
            parts.append(f"{self.zip()} {self.city()}")
        elif place < 0.70:
            parts.append(f"{self.city()} {self.zip()}")
        elif place < 0.80:
            parts.extend([self.city(), self.zip()])
        elif place < 0.90:
            parts.append(self.city())
        else:
            parts.extend([self.city(), f"{self.country()} {self.zip()}"])
        if self.chance(0.25) and len(parts) > 1:
            parts.append(self.country())
        joint = self._pick([", ", ", ", ", ", "\n", "\n", ",\n", " ", "\n "])
        return joint.join(parts)

    # Time

    def year(self) -> str:
        return str(self.random.randint(1925, 2029))

    def weekday(self) -> str:
        return self._pick(_DAYS)

    def date(self) -> str:
        day, month, year = self.random.randint(1, 28), self.random.randint(1, 12), self.random.randint(1930, 2028)
        name = _MONTHS[month - 1]
        return self._pick([
            f"{year}-{month:02}-{day:02}", f"{month}/{day}/{year}", f"{day:02}/{month:02}/{year}", f"{day}.{month}.{year}", f"{name} {day}, {year}", f"{day} {name} {year}",
            f"{name[:3]} {day} {year}", f"{day}-{name[:3]}-{year}", f"{name} {year}", f"{name} {day}", f"the {day}th of {name}", f"{month:02}/{day:02}/{year % 100:02}", f"{day}th {name}",
            f"{year}/{month:02}/{day:02} {day % 24:02}:{month * 4:02}", f"{year}-{month:02}-{day:02}T{day % 24:02}:{month * 4:02}:00",
        ])  # fmt: skip

    def time(self) -> str:
        hour, minute = self.random.randint(1, 12), self.random.randint(0, 59)
        return self._pick([f"{hour}:{minute:02} pm", f"{hour}am", f"{hour} p.m.", f"{hour + 8:02}:{minute:02}", f"{hour}:{minute:02}AM"])

    def age(self) -> str:
        return (
            str(self.random.randint(1, 99))
            if self.chance(0.9)
            else self._pick(["three", "seven", "twelve", "nineteen", "twenty-one", "thirty", "forty-five", "sixty", "seventy-two", "eighty-eight"])
        )

    # Numbers, which patterns find; the model only learns that they are not names

    def phone(self) -> str:
        return self._local().phone_number()

    def email(self) -> str:
        return self._local().email()

    def card(self) -> str:
        return _faker("en_US").credit_card_number()

    def iban(self) -> str:
        return _faker(self._pick(["de_DE", "en_GB", "fr_FR", "it_IT", "nl_NL"])).iban()

    def ssn(self) -> str:
        return _faker("en_US").ssn()

    def ip(self) -> str:
        return _faker("en_US").ipv4() if self.chance(0.7) else _faker("en_US").ipv6()

    def url(self) -> str:
        return _faker("en_US").url() if self.chance(0.5) else "www." + _faker("en_US").domain_name()

    def code(self) -> str:
        return "".join(self.random.choice("ABCDEFGHKLMNPRSTUVWXYZ0123456789") for _ in range(self.random.randint(6, 11)))

    def amount(self) -> str:
        return self._pick(
            [
                f"${self.random.randint(2, 90000):,}",
                f"€{self.random.randint(5, 900)}.50",
                f"{self.random.randint(2, 900)} dollars",
                f"{self.random.randint(2, 99)}%",
                f"{self.random.randint(2, 5000)}",
            ]
        )

    def slot(self, name: str) -> str:
        draw: Callable[[], str] = getattr(self, name)
        return draw()
