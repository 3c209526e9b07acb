"""What the pages show: fenced and indented examples, and what stands between backticks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "decisions").glob("*.md")])
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^ {4}\S.*\n)+", re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Example:
    """One block; `language` is "" where the page names none."""

    page: str
    language: str
    text: str


def blocks() -> list[Example]:
    """Every fenced block, and every indented one outside of them."""
    found = []
    for page in PAGES:
        name, text = str(page.relative_to(ROOT)), page.read_text("utf-8")
        found += [Example(name, match[1], match[2]) for match in _FENCED.finditer(text)]
        found += [Example(name, "", match[0]) for match in _INDENTED.finditer(_FENCED.sub("", text))]
    return found


def spans() -> list[tuple[str, str]]:
    """(page, text) of each stretch between backticks."""
    pages = ((str(page.relative_to(ROOT)), _FENCED.sub("", page.read_text("utf-8"))) for page in PAGES)
    return [(name, match[1]) for name, text in pages for match in _SPAN.finditer(text)]


def command_lines(program: str) -> list[tuple[str, str]]:
    """(page, line) of each call of `program` that a page shows, without variables before it and comments after it."""
    lines = [(each.page, line) for each in blocks() if each.language in ("", "bash", "sh") for line in each.text.splitlines()]
    called = re.compile(rf"^(?:[A-Z_]+=\S+ +)*({program}\b.*)$")
    found = set()
    for page, line in [*lines, *spans()]:
        match = called.match(re.sub(r"\s+#.*", "", line.strip()))
        if match:
            found.add((page, match[1].removesuffix("…").strip()))
    return sorted(found)


def alternatives(line: str) -> list[str]:
    """`a b|c` is `a b` and `a c`."""
    return [" ".join(words) for words in product(*(word.split("|") if "<" not in word else [word] for word in line.split(" ")))]
