"""Faults on real Flower processes: a client killed at each stage of a round, the SuperLink killed within one. Nothing is lost.

Each kill is a SIGKILL to the process group at the moment when the coordinator says that it waits for that stage.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from federated_trainer.errors import TrainerError
from federated_trainer.flower_run import run_to_end
from federated_trainer.network import LocalNetwork, run_command
from federated_trainer.publish import Registry
from federated_trainer.roster import make_identity, public_of, read_private_key
from federated_trainer.settings import FederationSettings, InstitutionSettings, read_settings
from federated_trainer.status import Status
from gateway.serving.free_ports import free_port

Make = Callable[..., dict[int, InstitutionSettings]]
RUN_TIMEOUT_S = 600.0
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]


def institution_file(folder: Path, own: InstitutionSettings) -> Path:
    lines = [f"{name} = {json.dumps(str(value) if isinstance(value, Path) else value)}" for name, value in own]
    path = folder / own.name / "institution.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def federation_file(folder: Path, base: Path, join_timeout_s: float) -> Path:
    (folder / "held_out.jsonl").write_text((folder / "i0" / "train.jsonl").read_text())
    make_identity(folder / "signing.key")
    path = folder / "federation.toml"
    path.write_text(
        f"""base_model = "{base}"
data_dir = "{folder / "data"}"
roster = "{folder / "roster.json"}"
held_out = "{folder / "held_out.jsonl"}"
registry = "file://{folder / "registry"}"
signing_key = "{folder / "signing.key"}"
join_timeout_s = {join_timeout_s}
round_timeout_s = 120.0
[adapter]
rank = 2
alpha = 4
[local]
learning_rate = 0.5
[gate]
perplexity_margin = 10.0
task_margin = 1.0
"""
    )
    return path


class Scene:
    """Three institutions and their coordinator's files."""

    def __init__(self, folder: Path, base: Path, make: Make) -> None:
        self.folder = folder
        self.institutions = {own.name: institution_file(folder, own) for own in make((6, 6, 6)).values()}
        self.federation = federation_file(folder, base, 90.0)
        self.settings = read_settings(self.federation, FederationSettings)
        self.network = LocalNetwork(folder / "net", free_port(4), self.institutions, dict(os.environ))

    def run(self) -> None:
        log = self.folder / "net" / "run.log"
        run_to_end(run_command(self.federation, 1), self.network.environment, log, RUN_TIMEOUT_S)

    def rounds(self) -> list[dict[str, Any]]:
        return Status(self.settings.data_dir, lambda stage, what: None).rounds()

    def versions(self) -> tuple[int, ...]:
        return Registry(self.settings.registry, public_of(read_private_key(self.settings.signing_key))).versions()

    @contextmanager
    def killed_at(self, process: str, what: str) -> Iterator[threading.Event]:
        """SIGKILL `process` as soon as the coordinator's status says `what`; the event tells that it happened."""
        status, killed, ended = self.settings.data_dir / "status.json", threading.Event(), threading.Event()

        def watch() -> None:
            while not ended.is_set():
                if status.exists() and json.loads(status.read_text())["what"] == what:
                    os.killpg(self.network.pid(process), signal.SIGKILL)
                    killed.set()
                    return
                time.sleep(0.02)

        self.settings.data_dir.mkdir(exist_ok=True)
        status.unlink(missing_ok=True)
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield killed
        finally:
            ended.set()
            watcher.join(30)


@pytest.fixture
def scene(tmp_path: Path, tiny_base: Path, make_institutions: Make) -> Iterator[Scene]:
    made = Scene(tmp_path, tiny_base, make_institutions)
    with made.network:
        yield made


def test_a_client_killed_at_each_stage_drops_out_and_the_round_ends(scene: Scene) -> None:
    """Before its masked vector is in, the sum goes on without it; after, its vector stays in the sum, and others open it."""
    for number, (stage, counted) in enumerate((("begin", 2), ("share", 2), ("mask", 2), ("confirm", 3), ("unmask", 3)), start=1):
        with scene.killed_at("i2", f"{stage}: 3 clients") as killed:
            scene.run()
        assert killed.is_set(), f"the round ended before stage {stage}"
        last = scene.rounds()[-1]
        assert (last["round_number"], last["clients"], last["version"]) == (number, counted, number - 1), last
        assert "i2" in last["refusals"], stage
        scene.network.stop("i2")
        scene.network.start_institution("i2")


def test_a_killed_superlink_leaves_nothing_half_published_and_the_next_round_goes_on(scene: Scene) -> None:
    scene.run()
    assert scene.versions() == (0,)
    with scene.killed_at("superlink", "mask: 3 clients") as killed, pytest.raises(TrainerError):
        scene.run()
    assert killed.is_set()
    assert scene.versions() == (0,), "the abandoned round published nothing"
    scene.network.stop("superlink")
    scene.network.start_superlink()
    scene.run()
    assert scene.versions() == (0, 1)
    assert scene.rounds()[-1]["clients"] == 3
