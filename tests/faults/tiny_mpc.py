"""A dealer and two parties of a tiny Llama, each a process that may be killed and paused, and what the model answers in the clear."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mpc_inference import launch
from mpc_inference.config import read_config
from mpc_inference.llama import plain
from mpc_inference.llama.shape import read_shape
from mpc_inference.llama.weights import read_weights
from mpc_inference.native.core import core
from mpc_inference.tokens import ChatTokens
from tests.faults.rig import Process, running

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
        deployment = read_config(self.config)
        shape, weights, tokens = read_shape(deployment.model), read_weights(deployment.model), ChatTokens(deployment.model)
        found = {}
        for opening in OPENINGS:
            prompt = tokens.chat([{"role": "user", "content": f"{opening} unknown"}])
            text: list[int] = []
            while len(text) < MAX_TOKENS:
                hidden, _ = plain.forward(shape, weights, np.array([*prompt, *text]))
                best = int(plain.logits(shape, weights, hidden[-1:])[0].argmax())
                if best in tokens.end_tokens:
                    break
                text.append(best)
            found[opening] = tokens.decode(text)
        return found
