"""Both READMEs say what the reports and the programs say."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("readme_figures", ROOT / "docs" / "readme_figures.py")
readme_figures = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(readme_figures)
READMES = sorted(readme_figures.HEADS)


def text(readme):
    return (ROOT / readme).read_text("utf-8")


@pytest.mark.parametrize("readme", READMES)
def test_the_figures_are_those_of_the_reports(readme):
    assert readme_figures.MARKED.search(text(readme)).group() == readme_figures.table(readme), "behind the reports: run `make docs`"


@pytest.mark.parametrize("readme", READMES)
def test_every_link_leads_to_a_file(readme):
    links = re.findall(r"\]\(([^)#:]+)\)", text(readme))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("readme", READMES)
def test_every_make_target_and_command_exists(readme):
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = {name for line in re.findall(r"^([a-z -]+):", makefile, re.MULTILINE) for name in line.split()}
    commands = {path.stem for path in (ROOT / "gateway" / "commands").iterdir()}
    assert set(re.findall(r"(?:`|^)make ([a-z][a-z-]+)", text(readme), re.MULTILINE)) <= targets
    assert set(re.findall(r"`llmos ([a-z]+)", text(readme))) <= commands


def test_both_languages_have_the_same_parts():
    english, chinese = (text(readme) for readme in READMES)
    for pattern in (r"^## ", r"^\| `llmos", r"^[0-9]\. `", r"^\|---", r"```", r"!\["):
        assert len(re.findall(pattern, english, re.MULTILINE)) == len(re.findall(pattern, chinese, re.MULTILINE)), pattern
