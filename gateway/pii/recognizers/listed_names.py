"""The lists of names that recognizers share, read once a process: given names, family names, places. About 20 MB, 0.1 s.

How each list is made, and from what: `bench.pii.training.name_list` and `place_list`.
"""

from __future__ import annotations

import gzip
from functools import lru_cache
from pathlib import Path


def _lines(name: str) -> list[str]:
    return gzip.decompress(Path(__file__).with_name(f"{name}.txt.gz").read_bytes()).decode("utf-8").split("\n")


@lru_cache
def given_names() -> frozenset[str]:
    return frozenset(_lines("given_names"))


@lru_cache
def family_names() -> frozenset[str]:
    return frozenset(_lines("family_names"))


@lru_cache
def places() -> tuple[frozenset[str], frozenset[str]]:
    """In lower case: the places that are sure, and those whose name is also a person's or a word."""
    lines = _lines("places")
    return frozenset(line for line in lines if not line.endswith("?")), frozenset(line[:-1] for line in lines if line.endswith("?"))
