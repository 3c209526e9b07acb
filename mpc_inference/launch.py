"""Making and starting a deployment: what `llmos mpc init|up|party|dealer|status` call.

`up` runs all three processes on this machine for trying out and for tests: one operator then holds both shares, so there is no
privacy, it says so, and it refuses in production. On three hosts each operator runs one of `run_dealer`, `run_party`.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpc_inference import certificates, roles, sealing
from mpc_inference.client import Client, statuses
from mpc_inference.config import Deployment, Endpoint, Mode, read_config, write_config
from mpc_inference.dealer import Dealer
from mpc_inference.errors import ConfigInvalid, PeerUnavailable, ProtocolError
from mpc_inference.llama import artifact, masked
from mpc_inference.llama.shape import read_shape
from mpc_inference.native.core import core
from mpc_inference.party import Party

ONE_OPERATOR = (
    "All three MPC processes run on this machine: whoever operates it holds both shares and can read every prompt. "
    "This shows the protocol; it gives no privacy. For privacy, run party 0, party 1 and the dealer under three operators."
)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # the parties share the machine
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Places:
    """Where the dealer and the parties are reached."""

    dealer: Endpoint
    parties: tuple[Endpoint, Endpoint]


def loopback(first_port: int) -> Places:
    """Three ports in a row on this machine."""
    return Places(Endpoint(port=first_port), (Endpoint(port=first_port + 1), Endpoint(port=first_port + 2)))


LOOPBACK = loopback(9500)


def _silent(done: int, total: int) -> None:
    """No progress display."""


def init(
    directory: Path,
    model: Path,
    progress: Progress = _silent,
    places: Places = LOOPBACK,
    mode: Mode = "public",
) -> Path:
    """Write certificates, sealing keys, the prepared model and mpc.yaml under `directory`; answers the configuration's path.

    An existing authority or prepared file of this mode is kept. progress counts layers. Raises ModelUnsupported, ConfigInvalid.
    """
    directory = directory.resolve()
    certs, config = directory / "certificates", directory / "mpc.yaml"
    prepared = directory / ("public.safetensors" if mode == "public" else f"{mode}/{mode}.json")
    if config.exists() and prepared.exists() and read_config(config).model != model.resolve():
        raise ConfigInvalid(f"{directory} holds another model's preparation: choose another directory, or remove {prepared}")
    read_shape(model)  # an unsupported model is refused before anything is written
    if not (certs / "ca.crt").exists():
        certificates.create(certs)
    if mode == "public":
        if not artifact.is_current(prepared):
            artifact.prepare(model, prepared, progress)
    elif not masked.is_current(prepared):
        masked.prepare(model, prepared.parent, mode, progress)
    deployment = Deployment(
        mode=mode,
        model=model.resolve(),
        prepared=prepared,
        digest=hashlib.sha256(prepared.read_bytes()).hexdigest(),
        certificates=certs,
        dealer=places.dealer,
        parties=places.parties,
        seal_keys=(sealing.create_key(certs, "party0"), sealing.create_key(certs, "party1")),
    )
    write_config(config, deployment)
    return config


def _until_signalled(stop: Callable[[], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop())


def _bound(config: Path, bind: str | None) -> Deployment:
    deployment = read_config(config)
    return deployment if bind is None else deployment.model_copy(update={"bind": bind})


def run_dealer(config: Path, progress: Progress = _silent, bind: str | None = None) -> None:
    """The dealer's process, listening on `bind` where given: returns after SIGINT or SIGTERM."""
    deployment = _bound(config, bind)
    dealer = Dealer(deployment, roles.load_dealer(deployment, core(), progress))
    _until_signalled(dealer.stop)
    dealer.serve()


def run_party(config: Path, index: int, progress: Progress = _silent, bind: str | None = None) -> None:
    """A party's process (index 0 or 1), listening on `bind` where given: returns after SIGINT or SIGTERM."""
    if index not in (0, 1):
        raise ConfigInvalid("a party's index is 0 or 1")
    deployment = _bound(config, bind)
    if deployment.show_shares:
        logging.getLogger(__name__).warning("show_shares is on: this party tells the first words of the last share to every client")
    party = Party(deployment, index, roles.load_party(deployment, index, core(), progress))
    _until_signalled(party.stop)
    party.serve()


def status(config: Path) -> list[dict[str, Any]]:
    """Both parties' counters. Raises PeerUnavailable, HandshakeRefused."""
    return statuses(read_config(config))


def command(role: str, config: Path) -> list[str]:
    """The command line of one role's process: "dealer", "party0" or "party1"."""
    rest = ["dealer"] if role == "dealer" else ["party", "--index", role[-1]]
    return [sys.executable, "-m", "mpc_inference", *rest, "--config", str(config)]


def start(role: str, config: Path, log: Path | None = None) -> subprocess.Popen[bytes]:
    """Start one role's process with one thread a process for numerical libraries."""
    environment = {**os.environ, **ONE_THREAD}
    out = log.open("ab") if log else subprocess.DEVNULL
    try:
        return subprocess.Popen(command(role, config), env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)  # noqa: S603
    finally:
        if log and out is not subprocess.DEVNULL:
            out.close()  # type: ignore[union-attr]


def wait_ready(config: Path, timeout_s: float, alive: Callable[[], bool] = lambda: True, tokens: int = 0, answers: int = 0) -> None:
    """Wait until both parties are paired with the dealer, and hold `tokens` rows and `answers` answers ready. Raises PeerUnavailable."""
    until, last = time.monotonic() + timeout_s, "they did not answer"
    while time.monotonic() < until and alive():
        try:
            both = status(config)
            if all(one["ready"] and int(one["ready_tokens"]) >= tokens and int(one["ready_answers"]) >= answers for one in both):
                return
            last = next((str(one["trouble"]) for one in both if one["trouble"]), "they wait for randomness")
        except ProtocolError as error:
            last = str(error)
        time.sleep(0.1)
    raise PeerUnavailable(f"the MPC processes are not ready: {last}")


@contextlib.contextmanager
def up(config: Path, production: bool, timeout_s: float = 60.0, logs: Path | None = None) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """All three processes on this machine until the block ends. Raises ConfigInvalid in production, PeerUnavailable."""
    if production:
        raise ConfigInvalid(f"`llmos mpc up` refuses in production. {ONE_OPERATOR}")
    logging.getLogger(__name__).warning(ONE_OPERATOR)
    if logs:
        logs.mkdir(parents=True, exist_ok=True)
    core()  # compiled once here, not by all three at the same time
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for role in ("dealer", "party0", "party1"):
            running[role] = start(role, config, logs / f"{role}.log" if logs else None)
        wait_ready(config, timeout_s, lambda: all(p.poll() is None for p in running.values()))
        yield running
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def client(config: Path) -> Client:
    """A client of the deployment."""
    return Client.direct(read_config(config))
