"""The real Valkey and the real vLLM that tests share, each started once a session and never left behind."""

from __future__ import annotations

import os
import runpy
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import redis

from gateway.serving import vllm_server as vllm
from gateway.serving.bounded_log import last_lines
from gateway.serving.free_ports import free_port
from gateway.serving.tether import tethered
from gateway.serving.valkey import EmbeddedValkey
from mpc_inference import launch

ROOT = Path(__file__).parent.parent
VLLM_PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
MODEL_DIR = Path(os.environ.get("LLMOS_DATA_DIR") or ROOT / ".llmos") / "models" / "smollm2"
VLLM_START_DEADLINE_S = 270.0  # under pytest's own limit for a test and its fixtures


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A `unix://` URL, for the whole session: what one test writes the next finds."""
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server.url


@pytest.fixture
def valkey(valkey_url: str) -> str:
    """The same URL, emptied before the test."""
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    return valkey_url


@pytest.fixture(scope="session")
def vllm_python() -> Path:
    """The Python of vLLM's environment."""
    if not VLLM_PYTHON.exists():
        pytest.fail("the tests need vLLM's environment: run `make setup`")
    return VLLM_PYTHON


@pytest.fixture(scope="session")
def model_dir() -> Path:
    """SmolLM2 as `llmos model prepare` writes it."""
    if not MODEL_DIR.exists():
        pytest.fail("the tests need the model: run `make setup`")
    return MODEL_DIR


@contextmanager
def _running(server: vllm.VllmServer, log_path: Path, start_deadline_s: float) -> Iterator[str]:
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            tethered(server.command()), env=os.environ | server.environment(), stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + start_deadline_s
        while not vllm.is_healthy(f"http://127.0.0.1:{server.port}/health"):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"vLLM did not start:\n{last_lines(log_path, 40)}")
            time.sleep(0.25)
        yield server.base_url
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


@pytest.fixture(scope="session")
def run_vllm() -> Callable[[vllm.VllmServer, Path, float], AbstractContextManager[str]]:
    """`with run_vllm(server, log_path, start_deadline_s) as base_url`: a real vLLM for as long as the context lasts."""
    return _running


@pytest.fixture(scope="session")
def vllm_server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[str]:
    """The base URL (…/v1) of a real vLLM that serves `smollm2`; LLMOS_TEST_UPSTREAM names one that runs already."""
    running = os.environ.get("LLMOS_TEST_UPSTREAM")
    if running:
        yield running.rstrip("/")
        return
    server = vllm.VllmServer(request.getfixturevalue("vllm_python"), request.getfixturevalue("model_dir"), free_port())
    with _running(server, tmp_path_factory.mktemp("vllm") / "vllm.log", VLLM_START_DEADLINE_S) as base_url:
        yield base_url


@pytest.fixture(scope="session")
def deploy_tiny_mpc() -> Callable[[Path], Path]:
    """Deploys a tiny Llama under a directory, on free ports; answers its mpc.yaml."""
    deploy: Callable[[Path], Path] = runpy.run_path(str(ROOT / "tests" / "mpc_inference" / "tiny_model.py"))["deploy"]
    return deploy


@pytest.fixture(scope="session")
def running_mpc(deploy_tiny_mpc: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The mpc.yaml of a tiny Llama whose dealer and parties run."""
    config = deploy_tiny_mpc(tmp_path_factory.mktemp("running-mpc"))
    with launch.up(config, production=False, logs=config.parent / "logs"):
        yield config
