"""`llmos federate demo`, timed: rounds under a streaming client, a poisoned round, a rollback; what it saw as plain numbers."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from pathlib import Path
from typing import Any

from federated_trainer.demo.show import Caller, show
from federated_trainer.demo.workspace import Serving
from gateway.commands.federate.demo_gateway import demonstration_gateway
from gateway.serving.free_ports import free_port

ROUNDS = 3


def measure(base_model: Path, vllm_url: str, base_name: str) -> dict[str, Any]:
    """Raises TrainerError where a round does not end or the poisoned one changes what is served."""
    scratch, alias = Path(tempfile.mkdtemp(prefix="llmos-bench-")), base_name
    try:
        with demonstration_gateway(scratch / "gateway", vllm_url) as running:
            serving = Serving(vllm_url, base_name, alias, running.url, running.operator_key_file)
            caller = Caller(f"{running.url}/v1", running.caller_key, alias)
            outcome = show(scratch, base_model.absolute(), serving, caller, free_port(4), ROUNDS, _tell)
        return dataclasses.asdict(outcome)
    finally:
        shutil.rmtree(scratch)


def _tell(what: str) -> None:
    print(f"  {what}", flush=True)
