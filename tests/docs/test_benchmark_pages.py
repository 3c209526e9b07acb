"""The pages that gather figures say what the reports say."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SPEC = importlib.util.spec_from_file_location("benchmark_pages", DOCS / "benchmark_pages.py")
pages = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(pages)


@pytest.mark.parametrize("name", sorted(pages.PAGES))
def test_the_page_is_what_the_reports_say(name):
    assert (DOCS / name).read_text("utf-8") == pages.PAGES[name](), "behind the reports: run `make docs`"


def test_every_report_is_of_a_command_of_the_index():
    known = {name for names in pages.COMMANDS.values() for name in names}
    assert {path.stem for path in pages.REPORTS.glob("*.json")} <= known
