"""The examples of the pages are right: commands and options exist, policies load, paths are served, settings are settings."""

from __future__ import annotations

import re
import shlex

import click
import pytest
import typer
import yaml

from gateway.admin.api import admin_app
from gateway.cli import app
from gateway.settings import CONFIG_FILE_VARIABLE, FOREIGN_PREFIXES, PREFIX, Settings
from policies.load import load_policy
from tests.docs.pages import ROOT, Example, alternatives, blocks, command_lines, spans

LLMOS = sorted({(page, one) for page, line in command_lines("llmos") for one in alternatives(line)})
MAKE = command_lines("make")
YAML = [each for each in blocks() if each.language == "yaml"]
CALL = re.compile(r"\b(GET|PUT|POST|DELETE)\s+(/admin/v1/[^\s`?:]*)")
OUR_FOLDERS = ("gateway/", "policies/", "mpc_inference/", "federated_trainer/", "deploy/", "docs/", "bench/", "tests/")
NOT_SETTINGS = {"LLMOS_TORCH_INDEX"}  # of deploy/setup.py


def test_the_pages_have_what_is_checked_here():
    assert len(LLMOS) > 60
    assert len(MAKE) > 10
    assert len(YAML) >= 3


@pytest.mark.parametrize(("page", "line"), LLMOS)
def test_a_command_its_options_and_its_arguments_exist(page, line):
    command, words = typer.main.get_command(app), shlex.split(line)[1:]
    context = command.make_context("llmos", [], resilient_parsing=True)
    while isinstance(command, click.Group) and words:
        name = words.pop(0)
        following = command.get_command(context, name)
        assert following is not None, f"{page}: there is no command {name!r} in {line!r}"
        command, context = following, click.Context(following, parent=context, info_name=name)
    given, rest, _ = command.make_parser(context).parse_args(words)  # raises for an option that the command does not have
    assert not rest, f"{page}: {line!r} gives more arguments than the command takes"
    for parameter in command.params:
        if isinstance(parameter.type, click.Choice) and given.get(parameter.name):
            parameter.type_cast_value(context, given[parameter.name])


@pytest.mark.parametrize(("page", "line"), MAKE)
def test_a_make_target_and_its_variables_exist(page, line):
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = {name for found in re.findall(r"^([a-z -]+):", makefile, re.MULTILINE) for name in found.split()}
    for word in shlex.split(line)[1:]:
        name, is_variable, _ = word.partition("=")
        if is_variable:
            assert f"$({name})" in makefile or re.search(rf"^{name} \?=", makefile, re.MULTILINE), f"{page}: {line!r}"
        else:
            assert name in targets, f"{page}: {line!r}"


@pytest.mark.parametrize("example", YAML, ids=lambda each: f"{each.page}-{each.text.split(':')[0]}")
def test_a_policy_loads_also_where_a_part_of_one_is_shown(example: Example):
    whole = example.text if "id" in yaml.safe_load(example.text) else "id: example\nextends: default\n" + example.text
    assert load_policy(whole).id


def test_every_path_of_the_admin_api_that_a_page_names_is_served():
    served = {
        (method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + "$"))
        for path, methods in admin_app(lambda: None).openapi()["paths"].items()  # type: ignore[arg-type,return-value]
        for method in methods
    }
    named = {(each.page, *match.groups()) for each in blocks() for match in CALL.finditer(each.text)}
    named |= {(page, *match.groups()) for page, text in spans() for match in CALL.finditer(text)}
    assert len(named) > 5
    for page, method, path in named:
        inner = path.removeprefix("/admin/v1")
        assert any(method == known and pattern.match(inner) for known, pattern in served), f"{page}: {method} {path}"


def test_every_setting_that_a_page_names_is_one():
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {CONFIG_FILE_VARIABLE} | NOT_SETTINGS
    for page, text in [*spans(), *((each.page, each.text) for each in blocks())]:
        for name in re.findall(r"\bLLMOS_[A-Z0-9_]*[A-Z0-9](?![A-Z0-9_*…])", text):
            fits = name in known or name.removesuffix("_FILE") in known or name.startswith(FOREIGN_PREFIXES)
            assert fits or name == "LLMOS_X" or name == "LLMOS_X_FILE", f"{page}: {name}"


def test_every_file_that_a_page_names_is_there():
    for page, text in spans():
        if text.startswith(OUR_FOLDERS) and " " not in text:
            assert list(ROOT.glob(text.partition("#")[0].rstrip("/"))), f"{page}: {text}"
        for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text("utf-8")):
            assert ((ROOT / page).parent / link).exists(), f"{page}: {link}"
