"""The processes under test: started, awaited, weighed and ended.

Times and memory are read from /proc, so this runs on Linux only.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from gateway.serving.tether import tethered

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "bench" / "peers"
LITELLM_VENV = ROOT / ".venv-litellm"
LITELLM = "litellm[proxy]==1.106.2"
_START_TIMEOUT_S = 180
_STOP_TIMEOUT_S = 20
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def process(argv: list[str], url: str, log: Path, environment: dict[str, str], start_timeout_s: float = _START_TIMEOUT_S) -> Iterator[int]:
    """Run `argv` until the end of the context; entered, with its process id, when `url` answers."""
    base = {name: value for name, value in os.environ.items() if not name.startswith("LLMOS_")}
    with log.open("wb") as out:
        child = subprocess.Popen(tethered(argv), env={**base, **environment}, stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + start_timeout_s
        while not _answers(url):
            if child.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{argv[0]} did not start; the end of its log:\n{log.read_text()[-2000:]}")
            time.sleep(0.25)
        yield child.pid
    finally:
        child.terminate()
        try:
            child.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).read()
    except (urllib.error.URLError, OSError):
        return False
    return True


def litellm_command(folder: Path, *, port: int, upstream_port: int) -> list[str]:
    """Make LiteLLM's environment if it is not there, and its configuration for these ports."""
    program = LITELLM_VENV / "bin" / "litellm"
    if not program.exists():
        print(f"  installing {LITELLM} into {LITELLM_VENV.name} (once) …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(LITELLM_VENV)], check=True)
        subprocess.run([str(LITELLM_VENV / "bin" / "pip"), "install", "--quiet", LITELLM], check=True)
    config = folder / "litellm.yaml"
    config.write_text((PEERS / "litellm_proxy.yaml").read_text().replace("127.0.0.1:8801", f"127.0.0.1:{upstream_port}"))
    return [str(program), "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]


def memory_mb(pid: int) -> float:
    """Proportional set size of a process and its children, in MB."""
    total = 0.0
    for each in _family(pid):
        with contextlib.suppress(OSError):
            total += int((Path("/proc") / str(each) / "smaps_rollup").read_text().split("Pss:")[1].split()[0]) / 1024
    return total


def cpu_s(pid: int | None) -> float:
    """CPU time that a process and its living children have used, in seconds; 0 for None."""
    ticks = 0
    for each in _family(pid) if pid else []:
        with contextlib.suppress(OSError):
            fields = _stat(each)
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS_A_SECOND


def _family(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if _descends(int(path.name), pid):
                found.append(int(path.name))
    return found


def _descends(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        pid = int(_stat(pid)[1])
    return False


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command's name: state, parent, …, utime (11), stime (12)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
