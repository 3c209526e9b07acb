"""The processes of the fault tests: a checking upstream, a store and a gateway, each of which may be paused or killed and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import openai

from gateway.serving import valkey
from gateway.serving.free_ports import free_port
from gateway.serving.tether import tethered

ROOT = Path(__file__).parents[2]
KEY = "sk-llmos-faults-0000"
START_DEADLINE_S = 240.0  # a busy machine loads detectors slowly


def await_true(what, deadline_s: float, text: str) -> None:
    end_s = time.monotonic() + deadline_s
    while not what():
        assert time.monotonic() < end_s, text
        time.sleep(0.05)


def answers(url: str, **more) -> bool:
    """Whether it answers with 200; `more` goes to httpx."""
    try:
        return httpx.get(url, timeout=10, **more).status_code == 200
    except httpx.HTTPError:
        return False


def listens(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


def children(pid: int, *, name: str = "") -> list[int]:
    """The processes below `pid` whose command line holds `name`."""
    found, todo = [], [pid]
    while todo:
        parent = todo.pop()
        with contextlib.suppress(OSError):
            for path in Path(f"/proc/{parent}/task").glob("*/children"):
                todo += [int(each) for each in path.read_text().split()]
        if parent != pid:
            with contextlib.suppress(OSError):
                if name in Path(f"/proc/{parent}/cmdline").read_bytes().decode():
                    found.append(parent)
    return found


@dataclass
class Process:
    """One command that runs until `stop`; `kill` and `start` again as often as a test likes."""

    argv: Sequence[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LLMOS_")} | {"PYTHONPATH": str(ROOT)}
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                tethered(list(self.argv)), cwd=self.cwd, env=environment | self.environment, stdout=out, stderr=out, start_new_session=True
            )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def await_true(self, what, deadline_s: float = START_DEADLINE_S) -> None:
        """Fails with the log as it then stands: at the deadline, or once the process has ended."""
        end_s = time.monotonic() + deadline_s
        while not what():
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end_s, self.log.read_text()
            time.sleep(0.1)

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self, timeout_s: float = 30.0) -> int:
        """SIGTERM and the exit status; SIGKILL to what is left."""
        assert self.process is not None
        self.signal(signal.SIGCONT)
        self.process.terminate()
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            return self.process.wait()


class Upstream(Process):
    """The checking upstream."""

    def __init__(self, folder: Path, canaries: Sequence[str]) -> None:
        self.folder, self.port = folder, free_port()
        (folder / "canaries").write_text("\n".join(canaries), "utf-8")
        super().__init__(
            [sys.executable, str(Path(__file__).with_name("checking_upstream.py")), str(self.port), str(folder)], folder / "up.log"
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def violations(self) -> str:
        path = self.folder / "violations"
        return path.read_text("utf-8") if path.exists() else ""

    def seen(self) -> int:
        path = self.folder / "seen"
        return path.stat().st_size if path.exists() else 0


class Store(Process):
    """A Valkey as the gateway would start it, on a socket."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        super().__init__(valkey.command(data_dir), data_dir / "store.log")

    @property
    def url(self) -> str:
        return valkey.url(self.data_dir)

    def start(self) -> None:
        super().start()
        await_true(lambda: valkey.answers(valkey.socket_path(self.data_dir)), 90, "the store does not answer")


class Gateway(Process):
    """`llmos serve`."""

    def __init__(self, data_dir: Path, upstream: str, *, workers: int = 1, scheme: str = "http", **settings: str) -> None:
        self.port, self.scheme = free_port(), scheme
        data_dir.mkdir(parents=True, exist_ok=True)
        environment = {
            "LLMOS_DATA_DIR": str(data_dir),
            "LLMOS_UPSTREAM": upstream,
            "LLMOS_PORT": str(self.port),
            "LLMOS_DEV_KEY": KEY,
            "LLMOS_DETECTOR_WORKERS": "1",
            **settings,
        }
        command = [sys.executable, "-m", "gateway.cli", "serve", "--workers", str(workers)]
        super().__init__(command, data_dir / "gateway.log", environment)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def answers(self, path: str, **more) -> bool:
        return answers(self.url + path, **more)

    def start(self, until: str = "/readyz", **more) -> None:
        super().start()
        self.await_true(lambda: self.answers(until, **more))

    def workers(self) -> list[int]:
        return list(children(self.pid, name="spawn_main"))

    def detectors(self) -> list[int]:
        return children(self.pid, name="detector_worker")

    def client(self, **more) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url + "/v1", api_key=KEY, **({"max_retries": 0, "timeout": 60} | more))


@contextlib.contextmanager
def running(*processes: Process) -> Iterator[None]:
    """Start in order, stop in reverse."""
    with contextlib.ExitStack() as stack:
        for process in processes:
            stack.callback(lambda process=process: process.process and process.stop())
            process.start()
        yield
