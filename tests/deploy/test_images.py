"""The images that `make images` built, as deploy/compose.yaml runs them, in podman: read-only, without root, the inner network closed.

One answer comes back through the gateway, the store and vLLM; one through the dealer and the two parties.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import yaml

from gateway.serving.valkey import server_binary
from tests.deploy.files import DEPLOY, ROOT, TOOLS
from tests.faults.rig import answers

KEY = "sk-llmos-images-0000"
URL = "http://127.0.0.1:8080"
MODEL = ROOT / ".llmos" / "models" / "smollm2"
PROMPT = "What is the capital of France?"
SERVICES = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
OURS = {service["image"] for service in SERVICES.values() if "build" in service and service.get("profiles", ["mpc"]) == ["mpc"]}
START_S = 240.0  # vLLM on a busy machine
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def podman(*argv: object, check: bool = True, **more) -> subprocess.CompletedProcess:
    done = subprocess.run(["podman", *map(str, argv)], capture_output=True, text=True, timeout=120, check=False, **more)
    assert not check or done.returncode == 0, done.stderr
    return done


def present(image: str) -> bool:
    return shutil.which("podman") is not None and podman("image", "exists", image, check=False).returncode == 0


def without_registry() -> dict:
    """Where the store's image cannot be had: the Valkey that the gateway's image holds, by the same arguments."""
    service = SERVICES["store"]
    if present(service["image"]):
        return {}
    inside = "/opt/llmos/lib/python3.11/site-packages/" + str(server_binary()).partition("site-packages/")[2]
    return {
        "image": SERVICES["gateway"]["image"],
        "user": "65532:65532",
        "entrypoint": [inside],
        "command": [*service["command"][1:], "--dir", "/var/lib/llmos", "--bind", "0.0.0.0", "--protected-mode", "no"],
        "healthcheck": {"test": ["CMD", "python", "-c", "import redis; redis.Redis().ping()"], "interval": "5s", "retries": 10},
    }


@pytest.fixture(scope="module")
def mpc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What docs/operations.md tells to prepare for --profile mpc."""
    if not all(map(present, OURS)):
        pytest.skip("needs podman and the images: make images")
    out = tmp_path_factory.mktemp("mpc")
    argv = [sys.executable, "-m", "gateway.cli", "mpc", "init", "--out", out, "--model", MODEL]
    argv += ["--dealer", "dealer:9500", "--party0", "party0:9501", "--party1", "party1:9502"]
    subprocess.run([str(each) for each in argv], check=True, timeout=300, env=os.environ | {"PYTHONPATH": str(ROOT)})
    subprocess.run(["chown", "-R", "65532:65532", str(out / "hosts")], check=True, timeout=60)
    return out


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, mpc: Path) -> Iterator[str]:
    """compose.yaml up, with --profile mpc; the prefix of its containers' names."""
    override = tmp_path_factory.mktemp("compose") / "override.yaml"
    override.write_text(yaml.safe_dump({"services": {"store": without_registry()}}))
    compose = [str(TOOLS / "podman-compose"), "-f", str(DEPLOY / "compose.yaml"), "-f", str(override), "--profile", "mpc"]
    environment = os.environ | {"LLMOS_DEV_KEY": KEY, "LLMOS_MPC_DIR": str(mpc), "LLMOS_MPC_CONFIG": "/etc/llmos/mpc/mpc.yaml"}
    try:
        subprocess.run([*compose, "up", "--detach", "--no-build"], check=True, timeout=300, env=environment)
        end_s = time.monotonic() + START_S
        while not answers(URL + "/readyz"):
            assert time.monotonic() < end_s, last_words()
            time.sleep(1)
        yield "llmos"
    finally:
        subprocess.run([*compose, "down", "--volumes"], check=False, timeout=300, env=environment)


def last_words() -> str:
    names = podman("ps", "--all", "--format", "{{.Names}}").stdout.split()
    return "\n".join(f"{name}: {said.stdout}{said.stderr}" for name in names if (said := podman("logs", "--tail", 5, name, check=False)))


def inside(container: str, program: str) -> str:
    return podman("exec", container, "python", "-c", program).stdout.strip()


@pytest.mark.parametrize("model", ["smollm2", "smollm2-mpc"])
def test_an_answer_comes_back_through_every_container(system: str, model: str):
    with openai.OpenAI(base_url=URL + "/v1", api_key=KEY, timeout=300) as client:
        answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": PROMPT}], max_tokens=12, temperature=0)
    assert "Paris" in (answer.choices[0].message.content or "")


@pytest.mark.parametrize("service", ["gateway", "vllm", "store", "dealer", "party0", "party1"])
def test_each_process_runs_without_root_and_writes_nowhere_but_its_folders(system: str, service: str):
    container = f"{system}_{service}_1"
    assert inside(container, "import os; print(os.getuid() and os.getgid() and 1)") == "1"
    tried = "import pathlib\ntry: pathlib.Path('/opt/written').write_text('')\nexcept OSError as error: print(error.errno)"
    assert inside(container, tried) == "30"  # EROFS
    capabilities = "print([line.split()[1] for line in open('/proc/self/status') if line.startswith(('CapEff', 'CapBnd', 'NoNewPrivs'))])"
    assert inside(container, capabilities) == str(["0" * 16, "0" * 16, "1"])


@pytest.mark.parametrize("service", ["vllm", "store", "dealer", "party0", "party1"])
def test_what_is_inside_has_no_way_out(system: str, service: str):
    routes = "print([line.split()[1] for line in open('/proc/net/route')][1:])"
    assert "00000000" not in inside(f"{system}_{service}_1", routes)
