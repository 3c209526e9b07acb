"""The files of `deploy` are valid by the tools that read them, say what we mean, and start the processes that the tests here start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from gateway.pii.keyring import KeyRing
from gateway.serving.free_ports import free_port
from gateway.serving.vllm_server import VllmServer
from gateway.settings import Settings
from tests.deploy.files import DEPLOY, ROOT, TOOLS, Started, of_chart, of_compose, of_containers, of_units
from tests.faults.rig import KEY, Process, Upstream, answers, running

tools = pytest.mark.skipif(not TOOLS.exists(), reason="the tools' environment is missing: make tools")


def run(*argv: object, **more) -> subprocess.CompletedProcess:
    return subprocess.run([str(each) for each in argv], capture_output=True, text=True, timeout=120, check=False, **more)


@tools
def test_hadolint_finds_nothing_in_the_container_files():
    done = run(TOOLS / "hadolint", *sorted((DEPLOY / "images").glob("*.Containerfile")))
    assert done.returncode == 0, done.stdout


@tools
def test_compose_follows_its_schema_and_yamllint_agrees():
    done = run(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")
    assert done.returncode == 0, done.stdout
    rules = "{extends: relaxed, rules: {line-length: {max: 160}}}"
    chart = DEPLOY / "helm" / "llmos"
    done = run(
        TOOLS / "yamllint", "-d", rules, DEPLOY / "compose.yaml", chart / "values.yaml", chart / "Chart.yaml", DEPLOY / "helm/examples"
    )
    assert done.returncode == 0, done.stdout


def test_compose_keeps_the_model_server_and_the_store_inside_and_everything_read_only():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert compose["networks"]["inner"]["internal"]
    for name, service in compose["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        if name in ("store", "vllm"):
            assert service["networks"] == ["inner"]
            assert "ports" not in service
    assert "noeviction" in compose["services"]["store"]["command"]


@tools
def test_caddy_accepts_its_file():
    environment = os.environ | {"LLMOS_DOMAIN": "gateway.example.org", "LLMOS_GATEWAY": "127.0.0.1:8080"}
    done = run(TOOLS / "caddy", "validate", "--adapter", "caddyfile", "--config", DEPLOY / "caddy" / "Caddyfile", env=environment)
    assert "Valid configuration" in done.stdout + done.stderr


ALL = [*of_containers(), *of_compose(), *of_units(), *(of_chart() if TOOLS.exists() else [])]


def test_each_file_starts_each_role_that_it_should():
    assert {started.role for started in of_compose()} == {"gateway", "vllm", "dealer", "party", "trainer"}
    assert {started.role for started in of_units()} == {"gateway", "vllm", "dealer", "party", "trainer"}
    assert len([started for started in of_containers() if started.role == "trainer"]) == 3


@pytest.mark.parametrize("started", [each for each in ALL if each.role == "vllm"], ids=lambda each: each.source)
def test_vllm_gets_the_flags_that_the_end_to_end_tests_run(started: Started):
    ours = VllmServer(Path("python"), Path("/m"), 8001).command()
    theirs = started.argv

    def flags(argv):
        argv = [part for word in argv for part in word.split("=", 1)]
        return {argv[at]: (argv[at + 1] if at + 1 < len(argv) and not argv[at + 1].startswith("--") else True)
                for at in range(len(argv)) if argv[at].startswith("--")}  # fmt: skip

    differing = {name for name in flags(ours) | flags(theirs) if flags(ours).get(name) != flags(theirs).get(name)}
    assert differing <= {"--model", "--host", "--ssl-certfile", "--ssl-keyfile"}
    if started.environment.get("PYTHONPATH"):  # the chart's environment is its image's
        assert started.environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"


@pytest.mark.parametrize("started", [each for each in ALL if each.role not in ("vllm", "gateway")], ids=lambda each: each.source)
def test_the_other_roles_know_their_command_and_every_option(started: Started, tmp_path):
    module = {"llmos": ["-m", "gateway.cli"], "python": []}[started.argv[0]]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LLMOS_")} | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = run(sys.executable, *module, *started.argv[1:], env=environment, cwd=tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode in (1, 2), said  # its files are not here; it says so, and knows everything else
    assert "does not exist" in said or "cannot be read" in said, said
    for unknown in ("No such option", "No such command", "unrecognized arguments", "invalid choice", "Traceback"):
        assert unknown not in said, said


@pytest.mark.parametrize("started", [each for each in ALL if each.role == "gateway"], ids=lambda each: each.source)
def test_every_setting_of_the_gateway_is_one(started: Started, tmp_path):
    """The same names, with values that this machine has."""
    (tmp_path / "secret").write_text("redis://127.0.0.1:1/0")
    environment = {
        name: str(tmp_path / "secret") if name == "LLMOS_REDIS_URL_FILE" else "rediss://h/0" if name == "LLMOS_REDIS_URL" else value
        for name, value in started.environment.items()
        if name.startswith("LLMOS_") and name != "LLMOS_REDIS_CA_FILE"
    }
    environment["LLMOS_DEV_KEY"] = ""
    settings = Settings.read(environment)
    assert "LLMOS_REDIS_CA_FILE" not in started.environment or "redis_ca_file" in Settings.model_fields
    assert settings.host in ("0.0.0.0", "127.0.0.1")


@pytest.mark.slow
@pytest.mark.parametrize("source", ["compose:gateway", "llmos-gateway.service", "chart:dealer:gateway"])
def test_the_gateway_of_each_file_serves_by_that_command(source, tmp_path):
    started = next((each for each in ALL if each.source == source), None)
    if started is None:
        pytest.skip("the tools' environment is missing: make tools")
    (tmp_path / "upstream").mkdir()
    upstream, port = Upstream(tmp_path / "upstream", ["Sarah Connor"]), free_port()
    KeyRing.generate().save(tmp_path / "master.key")
    here = {
        "LLMOS_UPSTREAM": upstream.url,
        "LLMOS_PORT": str(port),
        "LLMOS_HOST": "127.0.0.1",
        "LLMOS_DATA_DIR": str(tmp_path / "data"),
        "LLMOS_DEV_KEY": KEY,
        "LLMOS_ENV": "development",
        "LLMOS_DETECTOR_WORKERS": "1",
        "LLMOS_MASTER_KEY_FILE": str(tmp_path / "master.key"),
    }
    others = ("LLMOS_REDIS_URL", "LLMOS_MPC_CONFIG")
    kept = {k: v for k, v in started.environment.items() if k.startswith("LLMOS_") and not k.endswith("_FILE") and k not in others}
    gateway = Process([sys.executable, "-m", "gateway.cli", *started.argv[1:]], tmp_path / "log", kept | here)
    with running(upstream, gateway):
        url = f"http://127.0.0.1:{port}"
        gateway.await_true(lambda: answers(url + "/readyz"))
        body = {"model": "echo", "messages": [{"role": "user", "content": "I am Sarah Connor."}]}
        answer = httpx.post(url + "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"}, timeout=60)
        assert answer.json()["choices"][0]["message"]["content"] == "I am Sarah Connor."
        assert gateway.stop(60) == 0
    assert not upstream.violations()
