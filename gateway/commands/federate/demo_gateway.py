"""A gateway of the demonstration's own: `llmos serve` on a free port, with a caller's key and an operator's key."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.serving.free_ports import free_port
from gateway.serving.tether import tethered
from gateway.serving.vllm_server import is_healthy

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 40.0
KEY_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """`url` has no /v1. The operator's key is in a file, as the coordinator reads it."""

    url: str
    caller_key: str = field(repr=False)
    operator_key_file: Path


@contextmanager
def demonstration_gateway(data_dir: Path, upstream: str) -> Iterator[RunningGateway]:
    """Raises TrainerError where it does not become ready."""
    from federated_trainer.errors import TrainerError

    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LLMOS_")}
    environment = inherited | {"LLMOS_DATA_DIR": str(data_dir), "LLMOS_DETECTOR_WORKERS": "1"}
    llmos = [sys.executable, "-m", "gateway.cli"]
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (data_dir / "gateway.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command
            tethered([*llmos, "serve", "--upstream", upstream, "--port", str(port)]), env=environment, stdout=log, stderr=log
        )
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while not is_healthy(f"{url}/readyz"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise TrainerError(f"The gateway did not start; see {data_dir / 'gateway.log'}.")
                time.sleep(0.5)

            def key(role: str) -> str:
                command = [*llmos, "keys", "create", "demo", "--role", role, "--label", "federate demo", "--days", "1"]
                made = subprocess.run(command, env=environment, capture_output=True, timeout=KEY_TIMEOUT_S, check=True)  # noqa: S603 - ours
                return made.stdout.decode().strip()

            operator_key_file = data_dir / "operator.key"
            operator_key_file.unlink(missing_ok=True)
            operator_key_file.touch(mode=0o600)
            operator_key_file.write_text(key("operator") + "\n", encoding="ascii")
            yield RunningGateway(url, key("caller"), operator_key_file)
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
