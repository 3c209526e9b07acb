import json
import socket
import sys
from pathlib import Path

from gateway.serving import checks
from gateway.serving.free_ports import free_port
from gateway.settings import Settings


def settings(tmp_path, **more):
    return Settings.read({"LLMOS_DATA_DIR": str(tmp_path), **more})


def by_name(findings):
    return {each.name: each for each in findings}


def test_what_is_missing_says_how_to_mend_it(tmp_path):
    found = by_name(checks.before_up(settings(tmp_path), tmp_path / "no" / "python"))
    assert "make setup" in found["vLLM"].mend
    assert "llmos model prepare" in found["model"].mend
    assert found["Valkey"].is_well
    assert found["spaCy model"].is_well


def test_an_environment_without_vllm_is_broken(tmp_path):
    finding = checks.vllm_environment(Path(sys.executable))
    assert not finding.is_well
    assert "make setup" in finding.mend


def test_a_model_directory_is_checked_against_its_manifest(tmp_path):
    model_dir = settings(tmp_path).model_dir
    model_dir.mkdir(parents=True)
    manifest = {"files": {"model.safetensors": "00"}, "source": {"package": "p==1"}}
    (model_dir / checks.MANIFEST_NAME).write_text(json.dumps(manifest))
    assert checks.model(settings(tmp_path)).found == "model.safetensors is missing"
    (model_dir / "model.safetensors").touch()
    assert checks.model(settings(tmp_path)).is_well


def test_a_taken_port_names_the_variable():
    port = free_port()
    assert checks.port_is_free("127.0.0.1", port, "LLMOS_PORT").is_well
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        finding = checks.port_is_free("127.0.0.1", port, "LLMOS_PORT")
    assert "LLMOS_PORT" in finding.mend


def test_a_store_that_answers_and_one_that_does_not(tmp_path, valkey_url):
    assert checks.store(settings(tmp_path, LLMOS_REDIS_URL=valkey_url)).is_well
    canary = "canary-password"
    finding = checks.store(settings(tmp_path, LLMOS_REDIS_URL=f"redis://:{canary}@127.0.0.1:{free_port()}/0"))
    assert not finding.is_well
    assert canary not in str(finding)


def test_an_upstream_that_does_not_answer(tmp_path):
    finding = checks.upstream(settings(tmp_path, LLMOS_UPSTREAM=f"http://127.0.0.1:{free_port()}/v1"))
    assert "LLMOS_UPSTREAM" in finding.mend
