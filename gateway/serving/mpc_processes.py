"""The dealer and both parties of MPC inference as children of the supervisor, all on this machine.

For trying out: whoever runs them holds both shares. It does not start parties on other hosts; those run `llmos mpc party` there.
"""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path

from gateway.serving.supervisor import Child
from mpc_inference import launch
from mpc_inference.client import party_status
from mpc_inference.config import Deployment, read_config
from mpc_inference.errors import ConfigInvalid, MpcError
from mpc_inference.native.core import core

START_TIMEOUT_S = 180.0  # loading the model, and waiting for the other two
_ASK_TIMEOUT_S = 2.0


def children(config: Path) -> list[Child]:
    """Dealer, party 0, party 1.

    Raises CoreBuildFailed, and ConfigInvalid, also where something else listens on one of their ports.
    """
    deployment = read_config(config).model_copy(update={"deadline_s": _ASK_TIMEOUT_S})
    for place in (deployment.dealer, *deployment.parties):
        if _is_taken(deployment.bind or place.host, place.port):
            raise ConfigInvalid(f"port {place.port} is taken: stop what listens there (ss -ltnp), or choose another in {config}")
    core()  # compiled once here, not by all three at the same time
    checks = {
        "dealer": partial(_is_taken, deployment.bind or deployment.dealer.host, deployment.dealer.port),
        "party0": partial(_party_is_ready, deployment, 0),
        "party1": partial(_party_is_ready, deployment, 1),
    }
    return [
        Child(f"mpc-{role}", launch.command(role, config), is_ready, launch.ONE_THREAD, start_timeout_s=START_TIMEOUT_S)
        for role, is_ready in checks.items()
    ]


def _party_is_ready(deployment: Deployment, party: int) -> bool:
    try:
        return bool(party_status(deployment, party)["ready"])
    except MpcError:
        return False


def _is_taken(host: str, port: int) -> bool:
    """Whether somebody listens: asked of the kernel, since the dealer would log a connection that says nothing."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the processes do: TIME_WAIT does not count
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False
