import hashlib
import json
import subprocess
import sys
import time

import httpx
import pytest

from gateway.serving import prepare_smollm2 as sut

SOURCE = "ab" * 32
SCRIPT = sut.__file__


@pytest.fixture
def prepared(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    manifest = {
        "format": sut.FORMAT,
        "source": {"sha256": SOURCE},
        "files": {"model.safetensors": hashlib.sha256(b"weights").hexdigest()},
    }
    (tmp_path / sut.MANIFEST_NAME).write_text(json.dumps(manifest))
    return tmp_path


def test_a_directory_stands_while_its_sums_hold(prepared):
    assert sut.stands(prepared, SOURCE)
    assert not sut.stands(prepared, "cd" * 32)
    (prepared / "model.safetensors").write_bytes(b"weightz")
    assert not sut.stands(prepared, SOURCE)


@pytest.mark.parametrize("damage", ["not JSON", '{"format": 0}', '{"format": 1, "source": {}}', '{"format": 1, "files": {}}'])
def test_a_damaged_manifest_does_not_stand(prepared, damage):
    (prepared / sut.MANIFEST_NAME).write_text(damage)
    assert not sut.stands(prepared, SOURCE)


def test_a_missing_file_does_not_stand(prepared):
    (prepared / "model.safetensors").unlink()
    assert not sut.stands(prepared, SOURCE)


def test_without_the_package_it_says_what_to_do(tmp_path):
    argv = [sys.executable, "-I", SCRIPT, "--out", tmp_path / "model"]
    answer = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == sut.EXIT_FAILED
    assert "make setup" in answer.stderr
    assert not (tmp_path / "model").exists()


@pytest.mark.vllm
def test_a_second_run_leaves_the_model_as_it_is(vllm_python, model_dir):
    started_s = time.monotonic()
    answer = subprocess.run([vllm_python, SCRIPT, "--out", model_dir], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout.startswith("Already prepared")
    assert time.monotonic() - started_s < 20


@pytest.mark.slow
def test_a_damaged_model_is_made_again(vllm_python, tmp_path):
    argv = [vllm_python, SCRIPT, "--out", tmp_path / "model"]
    subprocess.run(argv, capture_output=True, timeout=280, check=True)
    first = json.loads((tmp_path / "model" / sut.MANIFEST_NAME).read_text())
    (tmp_path / "model" / "config.json").write_text("{}")
    answer = subprocess.run(argv, capture_output=True, text=True, timeout=280, check=True)
    assert "Prepared" in answer.stdout
    assert json.loads((tmp_path / "model" / sut.MANIFEST_NAME).read_text()) == first
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.vllm
def test_the_model_knows_the_capital_of_france(vllm_server):
    body = {
        "model": "smollm2",
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "temperature": 0,
        "max_tokens": 20,
    }
    answer = httpx.post(f"{vllm_server}/chat/completions", json=body, timeout=120)
    assert "Paris" in answer.json()["choices"][0]["message"]["content"]
