"""`llmos scrub`: text, spans and JSON lines, by the command itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def scrub(*arguments: str, text: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LLMOS_")} | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "gateway.cli", "scrub", *arguments], input=text, capture_output=True, text=True, timeout=240, env=environment
    )


def test_json_gives_the_text_and_the_spans() -> None:
    text = "Write to sarah.connor@cyberdyne.com, SSN 536-90-4399."
    done = scrub("--json", text=text)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert {text[s["start"] : s["end"]] for s in answer["spans"]} >= {"sarah.connor@cyberdyne.com", "536-90-4399"}
    assert "cyberdyne" not in done.stdout
    assert "536-90-4399" not in done.stdout


def test_json_lines_keep_their_structure_and_one_stand_in_a_value() -> None:
    lines = [
        {"subject_id": "p1", "messages": [{"role": "user", "content": "My e-mail is sarah.connor@cyberdyne.com"}]},
        {"subject_id": "p2", "messages": [{"role": "assistant", "content": "sarah.connor@cyberdyne.com it is"}]},
    ]
    done = scrub("--jsonl", text="\n".join(json.dumps(line) for line in lines))
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["subject_id"], first["messages"][0]["role"], second["messages"][0]["role"]) == ("p1", "user", "assistant")
    stand_in = first["messages"][0]["content"].removeprefix("My e-mail is ")
    assert "cyberdyne" not in done.stdout
    assert second["messages"][0]["content"] == f"{stand_in} it is"


@pytest.mark.parametrize(
    ("arguments", "text", "says"),
    [
        (("--policy", "defualt"), "x", "neither a pack"),
        (("--jsonl",), "Sarah Connor", "Line 1 is not JSON"),
        (("/nothing/here",), "", "can't be read"),
    ],
)
def test_a_fault_is_a_message_that_quotes_nothing(arguments: tuple[str, ...], text: str, says: str) -> None:
    done = scrub(*arguments, text=text)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "Connor" not in done.stderr
