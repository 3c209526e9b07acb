"""The wheel holds what the gateway needs: built, installed into a clean environment, started from there, and asked."""

import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest

from gateway.serving.free_ports import free_port
from tests.faults.rig import KEY, Process, Upstream, answers, running

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_wheel_builds_installs_and_serves(tmp_path):
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=True, timeout=120)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path), str(source)],
        check=True,
        timeout=300,
        cwd=tmp_path,
    )
    [wheel] = tmp_path.glob("llmos-0.1.0-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "gateway/stores/ledger.lua",
        "policies/packs/default.yaml",
        "gateway/dp/vllm_plugin/runner_v1.py",
        "mpc_inference/native/core.c",
        "mpc_inference/native/aes.h",
    ):
        assert needed in names
    assert not [name for name in names if name.startswith(("tests/", "bench/", "deploy/"))]
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, timeout=120)
    install = [str(venv / "bin" / "pip"), "install", "--quiet", "-c", str(ROOT / "constraints.txt"), str(wheel)]
    subprocess.run(install, check=True, timeout=900)
    llmos = str(venv / "bin" / "llmos")
    assert "serve" in subprocess.run([llmos, "--help"], capture_output=True, text=True, check=True, timeout=60).stdout
    (tmp_path / "upstream").mkdir()
    upstream, port = Upstream(tmp_path / "upstream", ["Sarah Connor"]), free_port()
    settings = {
        "LLMOS_UPSTREAM": upstream.url,
        "LLMOS_DATA_DIR": str(tmp_path / "data"),
        "LLMOS_DEV_KEY": KEY,
        "LLMOS_DETECTOR_WORKERS": "1",
    }
    gateway = Process([llmos, "serve", "--port", str(port)], tmp_path / "log", settings | {"PYTHONPATH": ""}, cwd=tmp_path)
    with running(upstream, gateway):
        url = f"http://127.0.0.1:{port}"
        gateway.await_true(lambda: answers(url + "/readyz"), 120)
        body = {"model": "echo", "messages": [{"role": "user", "content": "I am Sarah Connor."}]}
        answer = httpx.post(url + "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"}, timeout=60)
        assert answer.json()["choices"][0]["message"]["content"] == "I am Sarah Connor."
        assert gateway.stop(60) == 0
    assert not upstream.violations()
