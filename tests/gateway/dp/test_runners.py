"""Both of vLLM's processor interfaces, in vLLM's own environment, where only the plugin's folder is on the path."""

import os
import subprocess
from pathlib import Path

import pytest

from gateway.serving.vllm_server import PLUGIN_PATH


@pytest.mark.vllm
@pytest.mark.parametrize("name", ["runner_script.py", pytest.param("ranks_script.py", marks=pytest.mark.slow)], ids=["interfaces", "ranks"])
def test_in_vllm_s_own_environment(vllm_python: Path, name: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PLUGIN_PATH), "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    script = Path(__file__).with_name(name)
    done = subprocess.run([str(vllm_python), str(script)], env=environment, capture_output=True, text=True, timeout=250, check=False)
    assert done.stdout.strip().endswith("ok"), done.stderr[-3000:]
