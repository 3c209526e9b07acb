"""`llmos pii evaluate`: recall on a labelled file, by the command itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.commands.pii import wilson

ROOT = Path(__file__).parents[3]


def evaluate(path: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LLMOS_")} | {"PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    command = [sys.executable, "-m", "gateway.cli", "pii", "evaluate", "--labelled", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)


def test_recall_by_entity(tmp_path: Path) -> None:
    lines = [
        {"text": "Write to sarah.connor@cyberdyne.com", "spans": [{"start": 9, "end": 35, "entity": "EMAIL_ADDRESS"}]},
        {"text": "the wall is blue", "spans": [{"start": 12, "end": 16, "entity": "CODEWORD"}]},
    ]
    path = tmp_path / "labelled.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    done = evaluate(path)
    assert done.returncode == 0, done.stderr
    rows = {
        cells[0]: cells[1:] for line in done.stdout.splitlines() if len(cells := [c.strip() for c in line.strip("│┃ ").split("│")]) == 5
    }
    assert rows["EMAIL_ADDRESS"][:3] == ["1", "1", "1.000"]
    assert rows["CODEWORD"][:3] == ["1", "0", "0.000"]
    assert rows["all"][:3] == ["2", "1", "0.500"]
    assert "cyberdyne" not in done.stdout


def test_a_line_of_another_form_is_named_and_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "labelled.jsonl"
    path.write_text('{"text": "Sarah Connor"}')
    done = evaluate(path)
    assert done.returncode == 1
    assert "Line 1" in done.stdout
    assert "Connor" not in done.stdout + done.stderr


@pytest.mark.parametrize(("found", "total", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (45, 50, 0.7864, 0.9565)])
def test_the_interval_has_the_published_values(found: int, total: int, low: float, high: float) -> None:
    assert wilson(found, total) == pytest.approx((low, high), abs=5e-4)
