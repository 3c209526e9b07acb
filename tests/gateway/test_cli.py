import ast
import os
import subprocess
import sys
from pathlib import Path

from gateway import commands

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("LLMOS_")}


def llmos(*arguments, environ=None):
    argv = [sys.executable, "-m", "gateway.cli", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, env=ENVIRONMENT | (environ or {}), check=False)


def test_help_lists_every_command_with_a_line_of_its_own():
    answer = llmos("--help")
    assert answer.returncode == 0
    for module in Path(commands.__path__[0]).glob("[!_]*.py"):
        summary = (ast.get_docstring(ast.parse(module.read_text())) or "").partition("\n")[0]
        assert summary, f"{module.name} has no docstring"
        assert module.stem.replace("_", "-") in answer.stdout


def test_help_imports_no_heavy_module():
    script = """
import sys
from gateway.cli import main
try:
    main(["--help"])
except SystemExit:
    print(sorted({"spacy", "torch", "fastapi", "redis"} & set(sys.modules)))
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"


def test_an_unknown_command_is_named():
    answer = llmos("upp")
    assert answer.returncode == 2
    assert "upp" in answer.stderr


def test_a_wrong_setting_is_a_message_not_a_traceback():
    answer = llmos("doctor", environ={"LLMOS_PROT": "1"})
    assert answer.returncode == 2
    assert answer.stderr.strip() == "llmos: LLMOS_PROT is not a setting; did you mean LLMOS_PORT?"
