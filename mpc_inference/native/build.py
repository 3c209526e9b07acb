"""Compile the C core once a machine, into the user's cache.

The source is hashed together with the compiler's own description of the machine, so a new source or another processor
compiles anew.  It does NOT defend against somebody who can write to the cache directory: keep it the user's own.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from mpc_inference.errors import CoreBuildFailed

SOURCES = ("aes.h", "core.c")
FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-std=gnu11", "-fPIC", "-shared")


WIDE = ("-mprefer-vector-width=512",) if platform.machine() in ("x86_64", "AMD64") else ()


def default_cache() -> Path:
    """The directory for compiled cores, following the XDG base directory specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llmos" / "mpc"


def _compiler() -> str:
    for name in ("cc", "gcc", "clang"):
        found = shutil.which(name)
        if found:
            return found
    raise CoreBuildFailed("no C compiler found: install one (Debian: `apt install gcc libc6-dev`) and start again")


def _run(command: list[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True, timeout=120, check=False)  # noqa: S603 - fixed arguments, no shell


def build(cache: Path | None = None, portable: bool = False) -> Path:
    """The path of the shared library; compiles it when this source was not compiled on this machine yet.

    portable: leave the processor's AES instructions out (the tests compare both).
    Raises CoreBuildFailed without a compiler, or with its message when it fails.
    """
    here, target = Path(__file__).parent, cache or default_cache()
    compiler = _compiler()
    flags = [*FLAGS, *WIDE, *(["-DLLMOS_PORTABLE"] if portable else [])]
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update((here / name).read_bytes())
    digest.update(" ".join([compiler, *flags]).encode())
    digest.update(_run([compiler, "-march=native", "-Q", "--help=target"]).stdout)
    path = target / f"core-{digest.hexdigest()[:24]}.so"
    if path.exists():
        return path
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=target) as scratch:
        out = Path(scratch) / "core.so"
        done = _run([compiler, *flags, "-o", str(out), str(here / "core.c"), "-lm"])
        if done.returncode:
            raise CoreBuildFailed(f"{compiler} failed on core.c: {done.stderr.decode(errors='replace')[-800:]}")
        os.replace(out, path)
    return path
