"""Writes the list of given names that `GivenNameRecognizer` reads, from public lists: Faker's and the census's.

    python -m bench.pii.training.name_list --prose /usr/share/games/fortunes/*.u8

A name stays out where the prose has it as a word in lower case ("grace", "mark"), or where it is a month, a country, or a place that is
better known than its namesakes. Names in Latin script of three letters and more; about 21,000.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import faker.providers.person as person_providers
import names
from faker.providers.address.en_US import Provider as AddressProvider

OUTPUT = Path(__file__).parents[3] / "gateway" / "pii" / "recognizers" / "given_names.txt.gz"
_LOWER = re.compile(r"(?<![\w'’-])[a-z][a-z']+(?![\w-])")
_NAME = re.compile(r"[A-ZÀ-ÖØ-ÞĀ-Ž][^\W\d_A-Z]{2,}")
PLACES = """Africa Alabama Alaska America Arizona Asia Athens Atlanta Austin Bali Berlin Boston Brooklyn Buffalo California Carolina
    Charlotte Chester Chicago China Columbia Columbus Cuba Dakota Dallas Delhi Denver Detroit Dublin Eden Egypt England
    Europe Florence Florida Geneva Georgia Hamilton Havana Holland Houston India Indiana Ireland Israel Jackson Jamaica
    Java Jersey Jordan Kansas Kenya Kent Lancaster Lincoln London Lourdes Lyon Madison Malaysia Mali Manchester Memphis
    Mercedes Milan Milano Montana Montreal Moscow Nairobi Nevada Odessa Oslo Oxford Paris Persia Peru Petersburg
    Philadelphia Phoenix Prague Pune Raleigh Richmond Rio Roma Rome Salem Samara Santiago Savannah Seoul Seville Siena
    Sofia Sydney Tennessee Texas Toronto Trinidad Tunis Valencia Venezia Verona Vienna Virginia Washington Wellington
    York Bank Center Chase Delta Google Microsoft Amazon Apple Oracle Alexa Siri Java Ruby Pascal Python Swift Perl
    Julia Android Linux English French German Spanish Dutch Latin Roman Christian Muslim Jewish Easter Christmas Bible
    God Sir Madam Miss Lord Lady King Queen Prince Duke Earl Baron Judge Major General Captain Doctor Bishop Pope Saint
    North South East West Union Senior Junior Baby Mama Papa Mom Dad Mum Star Sun Moon Earth Mars Venus Mercury Jupiter
    Saturn Neptune"""
CALENDAR = """January February March April May June July August September October November December Monday Tuesday Wednesday Thursday
    Friday Saturday Sunday Sept Jan Feb Mar Apr Jun Jul Aug Oct Nov Dec"""


def census_names() -> Iterator[str]:
    """The given names of the United States census of 1990 (public domain), by the package names 0.3.0."""
    for part in ("male", "female"):
        for line in Path(names.__file__).with_name(f"dist.{part}.first").read_text("utf-8").splitlines():
            yield line.split()[0].title()


def faker_names() -> Iterator[str]:
    """Every given name of every locale."""
    for module in pkgutil.iter_modules(person_providers.__path__):
        provider = importlib.import_module(f"faker.providers.person.{module.name}").Provider
        for attribute in dir(provider):
            if "first_names" in attribute and isinstance(found := getattr(provider, attribute), tuple | list | dict):
                yield from (name for name in found if isinstance(name, str))


def common_words(paths: Iterable[Path]) -> set[str]:
    """The words that stand in lower case in running prose."""
    return {word for path in paths for word in _LOWER.findall(path.read_text("utf-8", errors="ignore"))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prose", type=Path, nargs="+", required=True)
    arguments = parser.parse_args()
    out = common_words(arguments.prose)
    places = {*PLACES.split(), *CALENDAR.split(), *(word for name in AddressProvider.countries for word in name.split())}
    given = {name for name in (*faker_names(), *census_names()) if _NAME.fullmatch(name) and name.lower() not in out and name not in places}
    with gzip.GzipFile(OUTPUT, "wb", mtime=0) as file:
        file.write("\n".join(sorted(given)).encode())
    print(f"{len(given)} names, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
