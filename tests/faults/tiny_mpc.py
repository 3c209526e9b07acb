"""A dealer and two parties of a tiny Llama, each a process that may be killed and paused, and what the model answers in the clear."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from mpc_inference import launch
from mpc_inference.config import read_config
from mpc_inference.native.core import core
from mpc_inference.tokens import ChatTokens
from tests.faults.rig import Process, running
from tests.mpc_inference.greedy import expected

ROLES = ("dealer", "party0", "party1")
MAX_TOKENS = 6
# A word outside the tiny vocabulary follows, so that any stand-in is the same token. These openings were chosen because nothing in them
# is taken for personal, their answers differ, and the first logit leads by more than 3 at each token: the error of fixed-point shares
# cannot turn one.
OPENINGS = ("w44 w17 w38", "w44 w25 w52")


class TinyMpc:
    """The three processes; `config` is the deployment file for LLMOS_MPC_CONFIG."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.logs = [config.parent / f"{role}.log" for role in ROLES]
        self.processes = [Process(launch.command(role, config), log, launch.ONE_THREAD) for role, log in zip(ROLES, self.logs, strict=True)]

    @contextlib.contextmanager
    def running(self, timeout_s: float = 120.0) -> Iterator[None]:
        core()  # compiled once here, not by all three at the same time
        with running(*self.processes):
            launch.wait_ready(self.config, timeout_s)
            yield

    def answers(self) -> dict[str, str]:
        """The plain model's answer to each of OPENINGS and one unknown word."""
        tokens = ChatTokens(read_config(self.config).model)
        found = {}
        for opening in OPENINGS:
            prompt = tokens.chat([{"role": "user", "content": f"{opening} unknown"}])
            answer = expected(self.config, prompt, MAX_TOKENS)
            found[opening] = tokens.decode([token for token in answer if token not in tokens.end_tokens])
        return found
